"""Where a request of `/v1` is made, and what a path of it means; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from outrider.facade.v1.catalogue import Resource
from outrider.kube.meta import ObjectKey

MANAGEMENT: Final = "management.cattle.io"
_PLAIN: Final = re.compile(r"[a-z0-9./-]*")


@dataclass(frozen=True)
class Place:
    """A root: that of the management cluster, or that of one cluster. `base` is scheme and host as clients see them.

    `prefix` is what the paths of a cluster begin with, empty at the management root.
    """

    base: str
    prefix: str = ""

    @property
    def root(self) -> str:
        """The URL of the root."""
        return f"{self.base}{self.prefix}/v1"

    def collection(self, resource: Resource, namespace: str = "") -> str:
        """The URL of a collection."""
        link = f"{self.root}/{resource.plural}"
        return f"{link}/{quote(namespace)}" if namespace else link

    def resource(self, resource: Resource, key: ObjectKey) -> str:
        """The URL of one object."""
        return f"{self.base}{self.prefix}/v1/{resource.plural}/{_quoted(str(key), ':/')}"

    def native(self, resource: Resource, namespace: str) -> str:
        """The URL of a collection in the API of Kubernetes, but for the kinds that are the product's own."""
        if _is_own(resource):
            return self.collection(resource, namespace)
        return f"{self.base}{self.prefix}{resource.kind.path(namespace=namespace)}"

    def view(self, resource: Resource, key: ObjectKey) -> str:
        """The URL of the object itself: in the API of Kubernetes, but for the kinds that are the product's own."""
        if _is_own(resource):
            return self.resource(resource, key)
        return f"{self.base}{self.prefix}{resource.kind.path(key.name, key.namespace)}"


def _is_own(resource: Resource) -> bool:
    return resource.kind.group == MANAGEMENT and resource.kind.version == "v3"


def _quoted(text: str, safe: str) -> str:
    """Percent-encoded; most names need none."""
    return text if _PLAIN.fullmatch(text) else quote(text, safe=safe)


@dataclass(frozen=True)
class Target:
    """What a path means: a type's name, and what follows it. `cluster` is the cluster whose root it is under."""

    cluster: str = ""
    prefix: str = ""
    type: str = ""
    parts: tuple[str, ...] = ()


def parse(path: str) -> Target | None:
    """The target of a path as it was sent, percent-encoded; None where there is none."""
    cluster, prefix = "", ""
    for alias in ("/k8s/clusters/", "/k8s/proxy/"):
        if path.startswith(alias):
            cluster, _, rest = path.removeprefix(alias).partition("/")
            prefix, path = f"{alias}{cluster}", f"/{rest}"
    if path != "/v1" and not path.startswith("/v1/"):
        return None
    parts = [unquote(part) for part in path.removeprefix("/v1").split("/") if part]
    if len(parts) > 3:
        return None
    return Target(cluster, prefix, parts[0] if parts else "", tuple(parts[1:]))
