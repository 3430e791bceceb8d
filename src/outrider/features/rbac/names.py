"""The contract's names: shortened, hashed, and as labels (auth-and-rbac, notation, §3.4, §3.7)."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final, NamedTuple

RBAC: Final = "rbac.authorization.k8s.io"
AGGREGATES: Final = "management.cattle.io/aggregates"
ROLE_OWNER: Final = "authz.cluster.cattle.io/clusterrole-owner"
GRB_OWNER: Final = "authz.management.cattle.io/grb-owner"
GR_OWNER: Final = "authz.management.cattle.io/gr-owner"
PROJECT_ID: Final = "field.cattle.io/projectId"

_LONGEST: Final = 63
_LABEL_PREFIX: Final = "authz.cluster.cattle.io/"
_PLAIN = re.compile(r"[a-z0-9]", re.ASCII)
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", re.ASCII)


class Subject(NamedTuple):
    """Whom a binding speaks of; `namespace` is that of a service account."""

    kind: str
    name: str
    namespace: str = ""

    def to_json(self) -> dict[str, str]:
        """The entry of `subjects`."""
        if self.kind == "ServiceAccount":
            return {"kind": self.kind, "name": self.name, "namespace": self.namespace}
        return {"apiGroup": RBAC, "kind": self.kind, "name": self.name}


class RoleRef(NamedTuple):
    """What a binding gives."""

    kind: str
    name: str

    def to_json(self) -> dict[str, str]:
        """The `roleRef`."""
        return {"apiGroup": RBAC, "kind": self.kind, "name": self.name}


def h10(text: str) -> str:
    """The first ten letters of the base32 of the SHA-256, in lower case."""
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode().lower()[:10]


def safe_concat(*parts: str) -> str:
    """The parts with dashes between them; what would be too long for a label ends in a part of its hash."""
    full = "-".join(parts)
    if len(full) <= _LONGEST:
        return full
    digest = hashlib.sha256(full.encode()).hexdigest()
    kept, tail = (57, 5) if _PLAIN.fullmatch(full[56]) else (56, 6)
    return f"{full[:kept]}-{digest[:tail]}"


def binding_name(prefix: str, scope: str, ref: RoleRef, subject: Subject) -> str:
    """`rb-…` or `crb-…`: one object for one subject and role in a scope, whoever asks for it."""
    whom = f"{subject.kind}{subject.name}"
    if subject.namespace:
        whom = f"{subject.kind}{subject.namespace}:{subject.name}"
    return f"{prefix}-{h10(f'{scope}{ref.kind}{ref.name}{whom}')}"


def owner_label(kind: str, name: str) -> str:
    """The label key that says which binding object (`crtb`, `prtb`) wants an object."""
    return _LABEL_PREFIX + safe_concat(f"{kind}-owner", name)


def membership_label(namespace: str, name: str) -> str:
    """The label key of a binding object on what makes its subjects members."""
    return safe_concat(f"{namespace}_{name}")


def admin_name(subject: Subject) -> str:
    """The ClusterRoleBinding of a global administrator in a cluster."""
    if subject.kind == "Group":
        return f"globaladmin-u-{h10(subject.name)}"
    if _NAME.fullmatch(subject.name) and len(subject.name) <= 200:
        return f"globaladmin-{subject.name}"
    return f"globaladmin-{hashlib.sha256(subject.name.encode()).hexdigest()[:32]}"


def object_name(text: str) -> str:
    """Text that may hold any character as a part of a label or name: what cannot stay is hashed."""
    return text if _NAME.fullmatch(text) and len(text) <= _LONGEST else h10(text)
