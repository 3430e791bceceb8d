"""Installs our CRDs and admission policies in the management cluster, and waits until they are served."""

import asyncio
from collections.abc import Iterable
from typing import Any

from outrider.apis.crd import custom_resource_definition
from outrider.apis.kinds import KINDS
from outrider.apis.policies import POLICIES, Policy
from outrider.apis.role_policies import ROLE_POLICIES
from outrider.kube.builtin import (
    CRDS,
    VALIDATINGADMISSIONPOLICIES,
    VALIDATINGADMISSIONPOLICYBINDINGS,
)
from outrider.kube.client import Client
from outrider.kube.errors import ApiError, NotFound
from outrider.kube.kind import Kind
from outrider.kube.transport import Request

_OK = 200
_DENIED = (401, 403)


class InstallError(Exception):
    """A CRD cannot be installed; the message says which, why, and what to do."""


async def install(
    client: Client,
    *,
    kinds: Iterable[Kind[Any]] = KINDS,
    policies: Iterable[Policy] = (*POLICIES, *ROLE_POLICIES),
    timeout: float = 60.0,
    interval: float = 0.05,
) -> None:
    """Server-side apply the CRDs of `kinds` and the `policies`; return once the objects can be listed.

    Idempotent: an unchanged CRD is not written, a changed or older one is upgraded in place, one that is
    being deleted is awaited and made again. `timeout` bounds the whole, `interval` is the pause between
    two looks; both in seconds. The API server holds back every POST to a kind that it has served for less
    than 2 s, but no server-side apply: make first objects by apply.

    Raises InstallError, or the KubeError of a server that does not answer.
    """
    pending: set[str] = set()
    try:
        async with asyncio.timeout(timeout), asyncio.TaskGroup() as group:
            for kind in kinds:
                group.create_task(_install_kind(client, kind, interval, pending))
            group.create_task(_install_policies(client, policies))
    except TimeoutError:
        raise InstallError(
            f"the API server did not begin to serve {', '.join(sorted(pending))} within {timeout:g} s;"
            " see the conditions in `kubectl describe crd` and the API server's log"
        ) from None
    except ExceptionGroup as errors:
        # The first failure has cancelled the rest.
        raise _first(errors) from None


def _first(errors: BaseExceptionGroup[Exception]) -> Exception:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


async def _install_kind(client: Client, kind: Kind[Any], interval: float, pending: set[str]) -> None:
    definition = custom_resource_definition(kind)
    name = definition["metadata"]["name"]
    pending.add(name)
    await _establish(client, definition, interval)
    while True:
        if await _is_served(client, kind):
            break
        await asyncio.sleep(interval)
    pending.discard(name)


async def own_name(client: Client) -> str:
    """Who the API server takes this client for. Raises KubeError."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = await client.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    return str(answer.get("status", {}).get("userInfo", {}).get("username", ""))


async def _install_policies(client: Client, policies: Iterable[Policy]) -> None:
    wanted = list(policies)
    own = await own_name(client) if wanted else ""
    async with asyncio.TaskGroup() as group:
        for policy in wanted:
            group.create_task(_install_policy(client, policy, own))


async def _install_policy(client: Client, policy: Policy, own: str) -> None:
    rule, binding = policy.objects(own)
    try:
        await client.apply(VALIDATINGADMISSIONPOLICIES, rule)
        await client.apply(VALIDATINGADMISSIONPOLICYBINDINGS, binding)
    except NotFound:
        raise InstallError(
            f"cannot install admission policy {policy.name}: the management cluster does not serve"
            " ValidatingAdmissionPolicy; it must be Kubernetes 1.30 or newer"
        ) from None
    except ApiError as error:
        raise InstallError(f"cannot install admission policy {policy.name}: {error.message}") from None


async def _establish(client: Client, definition: dict[str, Any], interval: float) -> None:
    stored = await _apply(client, definition)
    while not _is_established(stored):
        await asyncio.sleep(interval)
        found = await client.get_or_none(CRDS, definition["metadata"]["name"])
        stored = await _apply(client, definition) if found is None or _is_leaving(found) else found


async def _apply(client: Client, definition: dict[str, Any]) -> dict[str, Any]:
    try:
        return await client.apply(CRDS, definition)
    except ApiError as error:
        raise InstallError(
            f"cannot install CRD {definition['metadata']['name']}: {error.message};"
            " another product may own a CRD of this name in the management cluster"
        ) from None


def _is_leaving(stored: dict[str, Any]) -> bool:
    return bool(stored["metadata"].get("deletionTimestamp"))


def _is_established(stored: dict[str, Any]) -> bool:
    """Whether the API server has taken the CRD in; raises InstallError where it never will."""
    conditions = {one["type"]: one for one in stored.get("status", {}).get("conditions") or []}
    accepted = conditions.get("NamesAccepted", {})
    if accepted.get("status") == "False":
        raise InstallError(
            f"cannot install CRD {stored['metadata']['name']}: {accepted.get('message', 'its names are taken')};"
            " remove the CRD that has these names"
        )
    return not _is_leaving(stored) and conditions.get("Established", {}).get("status") == "True"


async def _is_served(client: Client, kind: Kind[Any]) -> bool:
    response = await client.raw(Request(method="GET", path=f"{kind.path()}?limit=1", headers=[], body=b""))
    if response.status in _DENIED:
        raise InstallError(
            f"cannot list {kind.plural}.{kind.group}: the API server answered {response.status};"
            " the role of this server in the management cluster must allow it"
        )
    return response.status == _OK
