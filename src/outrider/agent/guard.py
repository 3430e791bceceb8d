"""Watches the objects of impersonation accounts: what somebody changed is repaired before its next use."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import msgspec

from outrider.agent import accounts
from outrider.agent.accounts import Manifest
from outrider.agent.credentials import ImpersonationAccounts
from outrider.kit.backoff import Backoff
from outrider.kube.client import Client
from outrider.kube.kind import Kind
from outrider.kube.meta import ObjectKey
from outrider.runtime.following import Follower

T = TypeVar("T")

_RBAC = "rbac.authorization.k8s.io"


class _Meta(msgspec.Struct, rename="camel", gc=False):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


class Role(msgspec.Struct, rename="camel"):
    """A ClusterRole as far as it matters."""

    metadata: _Meta
    rules: list[dict[str, Any]] | None = None
    aggregation_rule: dict[str, Any] | None = None


class Binding(msgspec.Struct, rename="camel"):
    """A ClusterRoleBinding as far as it matters."""

    metadata: _Meta
    role_ref: dict[str, str] = {}
    subjects: list[dict[str, str]] | None = None


class Presence(msgspec.Struct):
    """Only that an object exists, and which one: the data of Secrets is never decoded."""

    metadata: _Meta


def _cluster_kind(plural: str, kind: str, type_: type[T]) -> Kind[T]:
    return Kind(group=_RBAC, version="v1", plural=plural, kind=kind, namespaced=False, type=type_)


def _presence(plural: str, kind: str) -> Kind[Presence]:
    return Kind(group="", version="v1", plural=plural, kind=kind, namespaced=True, type=Presence)


ROLES = _cluster_kind("clusterroles", "ClusterRole", Role)
BINDINGS = _cluster_kind("clusterrolebindings", "ClusterRoleBinding", Binding)
ACCOUNTS = _presence("serviceaccounts", "ServiceAccount")
TOKENS = _presence("secrets", "Secret")


class AccountGuard:
    """Follows the four kinds of account objects by their label and casts doubt on what was changed."""

    def __init__(
        self,
        client: Client,
        served: ImpersonationAccounts,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        inside = accounts.NAMESPACE

        def follow(kind: Kind[T], check: Callable[[str, T], bool], namespace: str = "") -> Follower[T]:
            sink = _Doubter(served, check)
            backoff = Backoff(0.5, 30.0)
            return Follower(
                client,
                kind,
                sink,
                sleep=sleep,
                backoff=backoff,
                namespace=namespace,
                labels=accounts.SELECTOR,
            )

        self._followers = (
            follow(ROLES, lambda user, role: _role_fits(served, user, role)),
            follow(BINDINGS, _binding_fits),
            follow(ACCOUNTS, lambda _user, _account: True, inside),
            follow(TOKENS, lambda _user, _secret: True, inside),
        )

    async def run(self) -> None:
        """Follows forever."""
        async with asyncio.TaskGroup() as group:
            for follower in self._followers:
                group.create_task(follower.run())


class _Doubter(Generic[T]):
    """A Sink that doubts the user of each object that is gone, another, or not as it was written."""

    def __init__(self, served: ImpersonationAccounts, fits: Callable[[str, T], bool]) -> None:
        self._served = served
        self._fits = fits
        self._uids: dict[ObjectKey, str] = {}

    def put(self, key: ObjectKey, obj: T) -> None:
        user = user_of(key.name)
        uid = obj.metadata.uid  # type: ignore[attr-defined]
        known = self._uids.get(key)
        self._uids[key] = uid
        replaced = known is not None and known != uid
        if replaced or (self._served.granted(user) is not None and not self._fits(user, obj)):
            self._served.doubt(user)

    def remove(self, key: ObjectKey) -> None:
        self._uids.pop(key, None)
        self._served.doubt(user_of(key.name))

    def retain(self, keys: set[ObjectKey]) -> None:
        for key in self._uids.keys() - keys:
            self.remove(key)


def user_of(name: str) -> str:
    """The user of an account object, by its name; empty for a foreign one."""
    if not name.startswith(accounts.PREFIX):
        return ""
    user = name.removeprefix(accounts.PREFIX)
    owner, separator, _ = user.rpartition("-token-")
    return owner if separator and accounts.secret_name(owner) == name else user


def _role_fits(served: ImpersonationAccounts, user: str, role: Role) -> bool:
    grant = served.granted(user)
    return grant is None or (
        not role.aggregation_rule and _normal(role.rules or []) == _normal(accounts.rules(user, grant))
    )


def _normal(rules: list[Manifest]) -> list[Manifest]:
    """Rules without the empty lists that the API server may add."""
    return [{key: value for key, value in rule.items() if value} for rule in rules]


def _binding_fits(user: str, binding: Binding) -> bool:
    wanted = accounts.cluster_role_binding(user, "")
    return (binding.role_ref, binding.subjects) == (wanted["roleRef"], wanted["subjects"])
