"""Installs the CRDs of all our kinds in the management cluster, and waits until they are served."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from outrider.apis.crd import custom_resource_definition
from outrider.apis.kinds import KINDS
from outrider.kube.builtin import CRDS
from outrider.kube.client import Client
from outrider.kube.errors import ApiError
from outrider.kube.kind import Kind
from outrider.kube.transport import Request

_OK = 200


class InstallError(Exception):
    """A CRD cannot be installed; the message says which, why, and what to do."""


async def install(
    client: Client, *, kinds: Iterable[Kind[Any]] = KINDS, timeout: float = 60.0, interval: float = 0.05
) -> None:
    """Server-side apply the CRDs of `kinds` and return once their objects can be listed.

    Idempotent: an unchanged CRD is not written, a changed or older one is upgraded in place, one that is
    being deleted is awaited and made again. `timeout` bounds the whole, `interval` is the pause between
    two looks; both in seconds. The API server holds back every POST to a kind that it has served for less
    than 2 s, but no server-side apply: make first objects by apply. Raises InstallError, or the KubeError of a server that does not answer.
    """
    pending: set[str] = set()
    try:
        async with asyncio.timeout(timeout), asyncio.TaskGroup() as group:
            for kind in kinds:
                group.create_task(_install_one(client, kind, interval, pending))
    except TimeoutError:
        raise InstallError(
            f"the API server did not begin to serve {', '.join(sorted(pending))} within {timeout:g} s;"
            " see the conditions in `kubectl describe crd` and the API server's log"
        ) from None
    except ExceptionGroup as errors:
        # The first failure has cancelled the rest.
        raise errors.exceptions[0] from None


async def _install_one(client: Client, kind: Kind[Any], interval: float, pending: set[str]) -> None:
    definition = custom_resource_definition(kind)
    name = definition["metadata"]["name"]
    pending.add(name)
    await _until(lambda: _is_established(client, definition), interval)
    await _until(lambda: _is_served(client, kind), interval)
    pending.discard(name)


async def _until(check: Callable[[], Awaitable[bool]], interval: float) -> None:
    while True:
        if await check():
            return
        await asyncio.sleep(interval)


async def _is_established(client: Client, definition: dict[str, Any]) -> bool:
    """Apply the CRD; whether the API server has taken it in. Raises InstallError where it never will."""
    name = definition["metadata"]["name"]
    try:
        stored = await client.apply(CRDS, definition)
    except ApiError as error:
        raise InstallError(
            f"cannot install CRD {name}: {error.message};"
            " another product may own a CRD of this name in the management cluster"
        ) from None
    if stored["metadata"].get("deletionTimestamp"):
        return False
    conditions = {one["type"]: one for one in stored.get("status", {}).get("conditions") or []}
    accepted = conditions.get("NamesAccepted", {})
    if accepted.get("status") == "False":
        raise InstallError(
            f"cannot install CRD {name}: {accepted.get('message', 'its names are taken')};"
            " remove the CRD that has these names"
        )
    return bool(conditions.get("Established", {}).get("status") == "True")


async def _is_served(client: Client, kind: Kind[Any]) -> bool:
    response = await client.raw(Request(method="GET", path=f"{kind.path()}?limit=1", headers=[], body=b""))
    return response.status == _OK
