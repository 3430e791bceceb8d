"""The ways past the server to a cluster with an authorized cluster endpoint (contract: §4.3)."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Iterable
from typing import Any

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.node import Node
from outrider.features.clusters.kubeconfigs import Endpoint


def endpoints(cluster: Cluster, nodes: Iterable[Node]) -> list[Endpoint]:
    """One by its name, or else one for each control plane node that has an address."""
    wanted = cluster.spec.local_cluster_auth_endpoint
    if wanted is None or not wanted.enabled:
        return []
    if wanted.fqdn:
        return [Endpoint(name="fqdn", server=f"https://{wanted.fqdn}", ca=wanted.ca_certs)]
    ca = _pem(cluster.status.ca_cert)
    found = []
    for node in sorted(nodes, key=lambda one: one.status.node_name):
        address = _address(node.status.internal_node_status or {})
        if node.spec.control_plane and address:
            found.append(Endpoint(name=node.status.node_name, server=f"https://{address}:6443", ca=ca))
    return found


def _address(status: dict[str, Any]) -> str:
    listed = [entry for entry in status.get("addresses") or [] if isinstance(entry, dict)]
    for kind in ("ExternalIP", "InternalIP"):
        for entry in listed:
            if entry.get("type") == kind and (text := _host(str(entry.get("address") or ""))):
                return text
    return ""


def _host(text: str) -> str:
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return ""
    return f"[{parsed}]" if parsed.version == 6 else str(parsed)


def _pem(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
