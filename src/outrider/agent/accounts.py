"""The impersonation account of a user: five objects, as pure functions of who the user is.

Source: auth-and-rbac §4.5 (names, labels, rules).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from outrider.agent.claims import AUTOMATIC_GROUPS
from outrider.kube.identity import Identity

Manifest = dict[str, Any]

NAMESPACE: Final = "cattle-impersonation-system"
PREFIX: Final = "cattle-impersonation-"
LABEL: Final = "authz.cluster.cattle.io/impersonator"
SELECTOR: Final = f"{LABEL}=true"

_RBAC = "rbac.authorization.k8s.io"
_AUTHENTICATION = "authentication.k8s.io"
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
# Restricting these two would mean another role for every token and every address.
_FREE_EXTRAS = ("requesttokenid", "requesthost")


class Grant(msgspec.Struct, frozen=True):
    """What an account may impersonate beside its user; everything sorted."""

    groups: tuple[str, ...]
    principals: tuple[str, ...]
    usernames: tuple[str, ...]


def grant_for(identities: Iterable[Identity]) -> Grant:
    """The least grant that serves all of these claims of one user."""
    claims = list(identities)
    groups = {group for claim in claims for group in claim.groups} | set(AUTOMATIC_GROUPS)
    return Grant(
        groups=tuple(sorted(groups)),
        principals=_values(claims, "principalid"),
        usernames=_values(claims, "username"),
    )


def _values(claims: list[Identity], key: str) -> tuple[str, ...]:
    return tuple(sorted({value for claim in claims for value in claim.extra.get(key, ())}))


def account_name(user: str) -> str:
    """Name of the user's ServiceAccount, ClusterRole and ClusterRoleBinding."""
    return PREFIX + user


def secret_name(user: str) -> str:
    """Name of the token Secret.

    Its last five letters follow from the user, so that two replicas of the agent make one Secret, not two.
    """
    digest = hashlib.sha256(user.encode()).digest()
    letters = "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest[:5])
    return f"{PREFIX}{user}-token-{letters}"


def rules(user: str, grant: Grant) -> list[Manifest]:
    """The rules of the user's ClusterRole. A rule without names would allow every name, so none is made."""
    named = [
        ("", "users", (user,)),
        ("", "groups", grant.groups),
        (_AUTHENTICATION, "userextras/principalid", grant.principals),
        (_AUTHENTICATION, "userextras/username", grant.usernames),
    ]
    restricted = [
        {
            "apiGroups": [group],
            "resources": [resource],
            "verbs": ["impersonate"],
            "resourceNames": list(names),
        }
        for group, resource, names in named
        if names
    ]
    free = [f"userextras/{key}" for key in _FREE_EXTRAS]
    return [*restricted, {"apiGroups": [_AUTHENTICATION], "resources": free, "verbs": ["impersonate"]}]


def namespace() -> Manifest:
    """The namespace of all accounts."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {LABEL: "true"}},
    }


def cluster_role(user: str, grant: Grant) -> Manifest:
    """May impersonate the user with this grant, and nothing else."""
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": account_name(user), "labels": {LABEL: "true"}},
        "rules": rules(user, grant),
    }


def cluster_role_binding(user: str, role_uid: str) -> Manifest:
    """Binds the account to its role."""
    name = account_name(user)
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": _owned(name, user, role_uid),
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}],
    }


def service_account(user: str, role_uid: str) -> Manifest:
    """The account itself; no pod runs as it."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {**_owned(account_name(user), user, role_uid), "namespace": NAMESPACE},
        "automountServiceAccountToken": False,
    }


def token_secret(user: str, role_uid: str) -> Manifest:
    """Kubernetes' token controller fills it."""
    metadata = _owned(secret_name(user), user, role_uid)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            **metadata,
            "namespace": NAMESPACE,
            "annotations": {"kubernetes.io/service-account.name": account_name(user)},
        },
        "type": "kubernetes.io/service-account-token",
    }


def _owned(name: str, user: str, role_uid: str) -> Manifest:
    """Metadata with the ClusterRole as owner: who deletes the role, deletes the account."""
    owner = {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "name": account_name(user), "uid": role_uid}
    return {"name": name, "labels": {LABEL: "true"}, "ownerReferences": [owner]}
