"""Has the API server send requests for a group of ours to us (apiregistration.k8s.io/v1 APIService).

A group that is registered and not served costs everybody: `kubectl` complains of it, and no namespace is deleted
until somebody answers or the registration is gone. So it is registered once we listen, by the leader, and a clean
stop removes it; who leads next registers it anew.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from typing import Any, Final

from outrider.kube.builtin import APISERVICES
from outrider.kube.client import Client
from outrider.kube.errors import KubeError
from outrider.kube.kind import Kind
from outrider.server.api_door import ApiDoor
from outrider.server.api_target import Target
from outrider.server.registration import covers

log = logging.getLogger(__name__)

_PRIORITY: Final = 100
"""Below those of Kubernetes' own groups, so that a short name of theirs stays theirs."""
_REMOVAL: Final = 3.0


class Aggregation:
    """Keeps the registration of a kind's group and version. `interval` is that of looking at it, in seconds."""

    def __init__(self, client: Client, door: ApiDoor, kind: Kind[Any], *, interval: float = 10.0) -> None:
        self._client = client
        self._door = door
        self._kind = kind
        self._interval = interval
        self._leading = False
        self._leaving = False

    async def run(self) -> None:
        """Leads the API server here and repairs what somebody changes, until cancelled: the leader's part."""
        self._leading = True
        try:
            while not self._leaving:
                try:
                    await self._register()
                except KubeError as error:
                    log.warning("the aggregated API cannot be registered; trying again: %s", error)
                await asyncio.sleep(self._interval)
        finally:
            self._leading = False

    async def leave(self) -> None:
        """Takes the registration back if it leads here; what cannot be removed within 3 s stays."""
        self._leaving = True
        if not self._leading:
            return
        try:
            async with asyncio.timeout(_REMOVAL):
                await self._client.delete_if_exists(APISERVICES, name_of(self._kind))
        except (KubeError, TimeoutError) as error:
            log.warning("the aggregated API stays registered: %s", error)

    async def _register(self) -> None:
        await self._door.announce()
        wanted = api_service(self._kind, self._door.target, self._door.ca)
        held = await self._client.get_or_none(APISERVICES, name_of(self._kind))
        if not covers(held, wanted) and not self._leaving:
            await self._client.apply(APISERVICES, wanted)


def name_of(kind: Kind[Any]) -> str:
    """The name that the APIService of a group and version has."""
    return f"{kind.version}.{kind.group}"


def api_service(kind: Kind[Any], target: Target, ca: str) -> dict[str, Any]:
    """The APIService."""
    return {
        "apiVersion": APISERVICES.api_version,
        "kind": APISERVICES.kind,
        "metadata": {"name": name_of(kind)},
        "spec": {
            "group": kind.group,
            "version": kind.version,
            "groupPriorityMinimum": _PRIORITY,
            "versionPriority": _PRIORITY,
            "service": target.to_json(),
            "caBundle": base64.b64encode(ca.encode()).decode(),
        },
    }
