"""The order to leave the cluster: whom it concerns, and how it outlives the process that heard it.

An order is taken from the server alone: through an open tunnel, or as the proven answer to this agent's own
credential (`tunnel.farewell`). It is written down in the ConfigMap `cattle-system/outrider-removal` with a hash of
that credential. All replicas follow that object, so that whoever applies goes on with the removal after a restart,
without the server. An order for another credential is none: the cluster was registered anew since.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Callable
from typing import Any

from outrider.agent.belongings import AGENT, MARK, NAMESPACE
from outrider.agent.errors import SettingsError
from outrider.agent.registration import Registration
from outrider.agent.settings import AgentSettings
from outrider.kit.backoff import Backoff
from outrider.kube.builtin import CONFIGMAPS, DEPLOYMENTS
from outrider.kube.client import Client
from outrider.kube.errors import KubeError, NotFound
from outrider.kube.meta import ObjectKey
from outrider.runtime.following import Follower

log = logging.getLogger(__name__)

_CREDENTIAL = "credential"


class Orders:
    """`given` is set once this agent has to leave; `taken` is called with it."""

    def __init__(
        self,
        client: Client,
        settings: AgentSettings,
        registration: Registration,
        *,
        taken: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._settings = settings
        self._registration = registration
        self._taken = taken
        self._accepting: asyncio.Task[None] | None = None
        self._marks: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.given = asyncio.Event()

    async def run(self) -> None:
        """Follows what is written down, until cancelled."""
        follower = Follower(
            self._client,
            CONFIGMAPS,
            _Marks(self._marks),
            sleep=asyncio.sleep,
            backoff=Backoff(0.5, 30.0),
            namespace=NAMESPACE,
            fields=f"metadata.name={MARK}",
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(follower.run())
            group.create_task(self._read())

    def give(self) -> None:
        """The server gave the order in answer to the credential that was shown last."""
        if not self.given.is_set() and (self._accepting is None or self._accepting.done()):
            self._accepting = asyncio.create_task(self._accept(self._registration.shown))

    async def close(self) -> None:
        """Gives up what is under way."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)

    async def _accept(self, token: str) -> None:
        backoff = Backoff(0.5, 10.0)
        while True:
            try:
                if not await self._is_installed(token):
                    log.warning("the deleted cluster was registered anew since: nothing is removed")
                    return
                document = {
                    "metadata": {"name": MARK, "namespace": NAMESPACE},
                    "data": {_CREDENTIAL: _hash(token)},
                }
                await self._client.apply(CONFIGMAPS, document)
            except NotFound:
                break  # no such namespace: it goes already
            except KubeError as error:
                log.warning("the order to leave is not written down yet: %s", error)
                await asyncio.sleep(backoff.next())
            else:
                break
        self._take()

    def _take(self) -> None:
        if not self.given.is_set():
            log.warning("this cluster was deleted on the server: leaving it")
            self.given.set()
            self._taken()

    async def _read(self) -> None:
        while True:
            mark = await self._marks.get()
            wanted = str((mark.get("data") or {}).get(_CREDENTIAL, ""))
            try:
                tokens = await self._tokens()
                if any(hmac.compare_digest(wanted, _hash(token)) for token in tokens):
                    self._take()
                elif tokens and await self._is_installed(next(iter(tokens))):
                    log.info("an order to leave from before this cluster was registered anew is dropped")
                    uid = mark["metadata"]["uid"]
                    await self._client.delete_if_exists(CONFIGMAPS, MARK, NAMESPACE, uid=uid)
            except KubeError as error:
                log.warning("it cannot be told whether an order to leave counts: %s", error)
                await asyncio.sleep(1.0)
                self._marks.put_nowait(mark)

    async def _tokens(self) -> list[str]:
        """The credentials of this agent: what it showed, what is mounted, what the Secret holds."""
        try:
            mounted = self._settings.tunnel_token()
        except SettingsError:
            mounted = ""
        found = (mounted, self._registration.shown, await self._registration.stored())
        return [token for token in dict.fromkeys(found) if token]

    async def _is_installed(self, token: str) -> bool:
        """Whether the agent's Deployment stands for this credential. Raises KubeError.

        The pod of an earlier registration that still runs must not take the cluster away from its successor.
        """
        deployment = await self._client.get_or_none(DEPLOYMENTS, AGENT, NAMESPACE)
        if deployment is None:
            return True
        name = credential_of(deployment)
        return name == self._settings.credential_name or await self._registration.stored(name) == token


class _Marks:
    """A Sink of the one ConfigMap."""

    def __init__(self, queue: asyncio.Queue[dict[str, Any]]) -> None:
        self._queue = queue

    def put(self, key: ObjectKey, obj: dict[str, Any]) -> None:
        self._queue.put_nowait(obj)

    def remove(self, key: ObjectKey) -> None:
        """An order that was taken is not taken back."""

    def retain(self, keys: set[ObjectKey]) -> None:
        """As for `remove`."""


def credential_of(deployment: dict[str, Any]) -> str:
    """The name of the Secret that the agent's Deployment gives to its pods; empty when it names none."""
    containers = deployment.get("spec", {}).get("template", {}).get("spec", {}).get("containers") or []
    variables = [one for container in containers for one in container.get("env") or []]
    found = [one.get("value") for one in variables if one.get("name") == "CATTLE_CREDENTIAL_NAME"]
    return str(found[0] or "") if found else ""


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
