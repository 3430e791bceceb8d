"""The kubeconfig that ``generateKubeconfig`` answers with (contract: clusters §4.3, auth §4.7)."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from outrider.features.clusters.manifest import normal_pem
from outrider.kit import yaml


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A way to the cluster beside the server: an authorized cluster endpoint. `ca` is PEM or empty."""

    name: str
    server: str
    ca: str = ""


def kubeconfig(
    *,
    cluster: str,
    display_name: str,
    server_url: str,
    cacerts: str = "",
    token: str = "",
    endpoints: Sequence[Endpoint] = (),
) -> str:
    """The YAML for one cluster; without a `token` the user is a plug-in call.

    Everything is named by the display name, or by the cluster's id when that is empty; contexts of further
    `endpoints` are ``<name>-<endpoint>``.
    """
    name = display_name or cluster
    host = urlsplit(server_url).netloc
    ways = [
        Endpoint(name=name, server=f"https://{host}/k8s/clusters/{cluster}", ca=cacerts),
        *(msgspec.structs.replace(way, name=f"{name}-{way.name}") for way in endpoints),
    ]
    return yaml.dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": way.name, "cluster": _cluster(way)} for way in ways],
            "users": [{"name": name, "user": _user(host, name, cluster if endpoints else "", token)}],
            "contexts": [{"name": way.name, "context": {"user": name, "cluster": way.name}} for way in ways],
            "current-context": name,
        }
    )


def _cluster(way: Endpoint) -> dict[str, str]:
    if not way.ca.strip():
        return {"server": way.server}
    pem = base64.b64encode(normal_pem(way.ca).encode()).decode()
    return {"server": way.server, "certificate-authority-data": pem}


def _user(host: str, name: str, scope: str, token: str) -> dict[str, Any]:
    if token:
        return {"token": token}
    arguments = ["token", f"--server={host}", f"--user={name}"]
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1beta1",
            "command": "rancher",
            "args": [*arguments, f"--cluster={scope}"] if scope else arguments,
        }
    }
