"""Kubeconfigs for one, several or all clusters (contract: clusters §4.3, auth §1.12, §4.7). Pure.

What goes in is a `Target` for each cluster; what else can be reached with the same credential is an `Endpoint`
of its target, and becomes a further context.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from outrider.features.clusters.manifest import normal_pem
from outrider.kit import yaml

DEFAULT_ENTRY: Final = "rancher"
"""The context of the server itself, which is the management cluster's API."""

_PLUGIN_VERSION: Final = "client.authentication.k8s.io/v1beta1"


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A way to the cluster beside the server: an authorized cluster endpoint. `ca` is PEM or empty."""

    name: str
    server: str
    ca: str = ""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster in a kubeconfig: its id, the name that people know, a token, further ways to it.

    Without a `token` the user is a plug-in call. An empty `name` is the id; an empty `cluster` is the server
    itself.
    """

    cluster: str
    name: str = ""
    token: str = ""
    endpoints: tuple[Endpoint, ...] = ()

    def __repr__(self) -> str:
        return f"Target({self.cluster})"


def kubeconfig(
    targets: Sequence[Target],
    *,
    server_url: str,
    cacerts: str = "",
    current: str = "",
    notes: Sequence[str] = (),
) -> str:
    """The YAML. `current` is a target's cluster or context, by default the first; `notes` are comments above.

    Everything is named by the target's name. Of several targets with one name, all but the first carry their id
    behind it; contexts of `endpoints` are ``<name>-<endpoint>``.
    """
    host = urlsplit(server_url).netloc
    named = list(_distinct(targets))
    ways = [(name, way) for name, target in named for way in _ways(name, target, host, cacerts)]
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": way.name, "cluster": _cluster(way)} for _, way in ways],
        "users": [{"name": name, "user": _user(host, name, target)} for name, target in named],
        "contexts": [
            {"name": way.name, "context": {"user": user, "cluster": way.name}} for user, way in ways
        ],
        "current-context": _current(named, current),
    }
    return "".join(f"# {' '.join(note.split())}\n" for note in notes) + yaml.dump(document)


def context_names(targets: Sequence[Target]) -> list[str]:
    """The names of all contexts, in their order."""
    named = _distinct(targets)
    return [
        name for own, target in named for name in (own, *(f"{own}-{way.name}" for way in target.endpoints))
    ]


def _distinct(targets: Sequence[Target]) -> Iterator[tuple[str, Target]]:
    taken: set[str] = set()
    for target in targets:
        name = target.name or target.cluster
        while name in taken:
            name = f"{name}-{target.cluster}"
        ways = {f"{name}-{way.name}" for way in target.endpoints}
        taken |= {name, *ways}
        yield name, target


def _ways(name: str, target: Target, host: str, cacerts: str) -> list[Endpoint]:
    path = f"/k8s/clusters/{target.cluster}" if target.cluster else ""
    return [
        Endpoint(name=name, server=f"https://{host}{path}", ca=cacerts),
        *(msgspec.structs.replace(way, name=f"{name}-{way.name}") for way in target.endpoints),
    ]


def _current(named: Sequence[tuple[str, Target]], wanted: str) -> str:
    by_cluster = next((name for name, target in named if wanted and target.cluster == wanted), "")
    return by_cluster or wanted or (named[0][0] if named else "")


def _cluster(way: Endpoint) -> dict[str, str]:
    if not way.ca.strip():
        return {"server": way.server}
    pem = base64.b64encode(normal_pem(way.ca).encode()).decode()
    return {"server": way.server, "certificate-authority-data": pem}


def _user(host: str, name: str, target: Target) -> dict[str, Any]:
    if target.token:
        return {"token": target.token}
    arguments = ["token", f"--server={host}", f"--user={name}"]
    # a token for the endpoints must be the cluster's own
    scope = [f"--cluster={target.cluster}"] if target.endpoints else []
    return {"exec": {"apiVersion": _PLUGIN_VERSION, "command": "rancher", "args": [*arguments, *scope]}}
