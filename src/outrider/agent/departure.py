"""Takes away everything that was made in the cluster, the agent's own rights last.

The last act is a single deletion: everything that the agent needs to work belongs (by ownerReferences) to the
ClusterRole `cattle-admin` by then, and goes with it, by the hand of the cluster's garbage collector. Up to that
act the agent has all its rights and can be started again wherever it was killed; after it nothing is left to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from outrider.agent import accounts, belongings
from outrider.agent.belongings import BINDINGS, NAMESPACES, ROLES, Metadata, Owner, Thing
from outrider.delivery.entries import Ref
from outrider.delivery.index import Extra
from outrider.delivery.withdrawal import Withdrawal
from outrider.kit.backoff import Backoff
from outrider.kube.builtin import CLUSTERROLES
from outrider.kube.client import Client
from outrider.kube.errors import AlreadyExists, ApiError, Conflict, KubeError, NotFound
from outrider.kube.kind import Kind
from outrider.tunnel.reports import Removal

log = logging.getLogger(__name__)

Attempt = Callable[[], Awaitable[dict[str, str]]]
"""Tries something; returns what was refused, by its name."""

_SHOWN: Final = 10
_TOLD_EVERY: Final = 1.0
_BUSY: Final = frozenset({408, 409, 429})
_ACCOUNT_KINDS: Final = (
    (BINDINGS, ""),
    (belongings.kind_of("", "v1", "secrets", "Secret"), accounts.NAMESPACE),
    (belongings.kind_of("", "v1", "serviceaccounts", "ServiceAccount"), accounts.NAMESPACE),
    (ROLES, ""),
)


class Departure:
    """One replica of the agent runs it, and nobody else writes then.

    `tell` hears of the progress. What the API server refuses is tried again for `patience` seconds and stays
    then; as long as the server does not answer, nothing is given up.
    """

    def __init__(
        self,
        client: Client,
        withdrawal: Withdrawal,
        tell: Callable[[Removal], None],
        *,
        patience: float = 40.0,
        pause: float = 0.5,
    ) -> None:
        self._client = client
        self._withdrawal = withdrawal
        self._tell = tell
        self._patience = patience
        self._pause = pause
        self._going: dict[Ref, Extra] = {}
        self._trouble = ""
        self._told = 0.0

    async def run(self) -> None:
        """Returns when nothing more can be done here: the rights are gone."""
        log.info("removing everything that was made in this cluster")
        left: dict[str, str] = {}
        for attempt in (self._withdraw, self._unmark_namespaces, self._remove_accounts, self._remove_named):
            left |= await self._persist(attempt, self._patience)
        left |= await self._keep_at(self._leave)
        for line in _lines(left):
            log.warning("left behind: %s", line)
        log.info("everything else is removed, and so are the rights of this agent")
        self._tell(Removal(left=_lines(left), done=True))

    async def _persist(self, attempt: Attempt, patience: float) -> dict[str, str]:
        """Repeats an attempt until it leaves nothing; returns what is still refused when patience ends."""
        loop = asyncio.get_running_loop()
        backoff = Backoff(self._pause, 10 * self._pause)
        since: float | None = None
        while left := await self._keep_at(attempt):
            now = loop.time()
            since = now if since is None else since
            if now - since >= patience:
                return left
            await asyncio.sleep(backoff.next())
        return {}

    async def _keep_at(self, attempt: Attempt) -> dict[str, str]:
        """Repeats an attempt until it comes to its end: as long as no answer comes, nothing is known."""
        backoff = Backoff(self._pause, 10 * self._pause)
        while True:
            try:
                return await attempt()
            except KubeError as error:
                if str(error) != self._trouble:
                    self._trouble = str(error)
                    log.warning("the removal does not get on: %s", error)
                    self._tell(Removal(left=[str(error)]))
            await asyncio.sleep(backoff.next())

    async def _withdraw(self) -> dict[str, str]:
        if not self._going:
            made = await self._withdrawal.made()
            self._going = {ref: one for ref, one in made.items() if not belongings.carries_the_agent(ref)}
        failed = await self._withdrawal.remove(self._going, self._progress)
        self._going = {ref: self._going[ref] for ref in failed}
        left = {f"{ref.kind} {_name(ref.namespace, ref.name)}": why for ref, why in failed.items()}
        self._tell(Removal(remaining=len(left), left=_lines(left)))
        return left

    async def _unmark_namespaces(self) -> dict[str, str]:
        """Namespaces belong to no project any more."""
        left: dict[str, str] = {}
        for space in (await self._client.list(NAMESPACES)).items:
            name, patch = space.metadata.name, belongings.unmarked(space.metadata)
            if not patch:
                continue
            try:
                await self._client.patch(NAMESPACES, name, {"metadata": patch})
            except NotFound:
                continue
            except ApiError as error:
                if _may_pass(error):
                    raise
                left[f"Namespace {name}"] = str(error)
        return left

    def _progress(self, remaining: int) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._told >= _TOLD_EVERY:
            self._told = now
            self._tell(Removal(remaining=remaining))

    async def _remove_accounts(self) -> dict[str, str]:
        """The accounts through which users acted. Looks again after a round: another replica may be late."""
        left: dict[str, str] = {}
        found = False
        for kind, namespace in _ACCOUNT_KINDS:
            for thing in (await self._client.list(kind, namespace, labels=accounts.SELECTOR)).items:
                found = True
                left |= await self._delete(kind, thing.metadata)
        space = await self._client.get_or_none(NAMESPACES, accounts.NAMESPACE)
        if space is not None and space.metadata.labels.get(accounts.LABEL):
            left |= await self._delete(NAMESPACES, space.metadata)
        return left if left or not found else await self._remove_accounts()

    async def _remove_named(self) -> dict[str, str]:
        left: dict[str, str] = {}
        for kind, name in belongings.NAMED:
            left |= await self._delete(kind, Metadata(name=name))
        return left

    async def _leave(self) -> dict[str, str]:
        left = await self._remove_accounts()
        role = await self._anchor()
        owner = Owner(CLUSTERROLES.api_version, CLUSTERROLES.kind, role.name, role.uid)
        binding = await self._client.get_or_none(BINDINGS, belongings.BINDING)
        await self._bequeath(BINDINGS, binding, owner)
        inside = [
            (kind, thing)
            for kind in belongings.INSIDE
            for thing in (await self._client.list(kind, belongings.NAMESPACE)).items
        ]
        foreign = [
            f"{kind.kind} {thing.metadata.name}"
            for kind, thing in inside
            if belongings.is_foreign(kind.kind, thing.metadata)
        ]
        if foreign:
            for kind, thing in inside:
                if belongings.is_ours(kind.kind, thing.metadata):
                    await self._bequeath(kind, thing, owner)
            left[f"Namespace {belongings.NAMESPACE}"] = f"it holds {', '.join(foreign[:_SHOWN])}"
        else:
            space = await self._client.get_or_none(NAMESPACES, belongings.NAMESPACE)
            await self._bequeath(NAMESPACES, space, owner)
        await self._client.delete_if_exists(CLUSTERROLES, role.name, uid=role.uid)
        return left

    async def _anchor(self) -> Metadata:
        """The role to which everything is bequeathed; without rights if somebody removed the real one."""
        found = await self._client.get_or_none(ROLES, belongings.ROLE)
        if found is None:
            with contextlib.suppress(AlreadyExists):
                await self._client.create(CLUSTERROLES, {"metadata": {"name": belongings.ROLE}, "rules": []})
            found = await self._client.get(ROLES, belongings.ROLE)
        return found.metadata

    async def _bequeath(self, kind: Kind[Thing], thing: Thing | None, owner: Owner) -> None:
        """Has an object go with its new owner, unless it is gone already."""
        if thing is None:
            return
        metadata = thing.metadata
        owners: Any = msgspec.to_builtins(belongings.owned_by(metadata, owner))
        patch = {"metadata": {"uid": metadata.uid, "ownerReferences": owners}}
        with contextlib.suppress(NotFound):
            await self._client.patch(kind, metadata.name, patch, metadata.namespace)

    async def _delete(self, kind: Kind[Thing], metadata: Metadata) -> dict[str, str]:
        """Deletes one object; what is refused is returned. Raises KubeError when that may pass."""
        try:
            await self._client.delete_if_exists(kind, metadata.name, metadata.namespace, uid=metadata.uid)
        except Conflict:
            return {}  # another one of that name by now
        except ApiError as error:
            if _may_pass(error):
                raise
            return {f"{kind.kind} {_name(metadata.namespace, metadata.name)}": str(error)}
        return {}


def _may_pass(error: KubeError) -> bool:
    """Whether an error says nothing about what was asked for."""
    return not isinstance(error, ApiError) or error.code >= 500 or error.code in _BUSY


def _lines(left: Mapping[str, str]) -> list[str]:
    return [f"{name}: {why}" if name else why for name, why in sorted(left.items())][:_SHOWN]


def _name(namespace: str, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name
