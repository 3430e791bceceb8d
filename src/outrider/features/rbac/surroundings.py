"""What of the management cluster matters beside roles and bindings, read from its objects. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Annotated, Final, NamedTuple

import msgspec

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.fleet_workspace import FleetWorkspace
from outrider.apis.management.node import NODES
from outrider.apis.management.project import Project
from outrider.apis.management.registration_token import ClusterRegistrationToken
from outrider.apis.management.setting import Setting
from outrider.apis.management.settings import BY_NAME
from outrider.kube.kind import Kind
from outrider.kube.meta import Object

SYSTEM_NAMESPACES: Final = "system-namespaces"
_LOCAL_WORKSPACE: Final = "fleet-local"
_TUNNEL_ADDRESS: Final = "projectcalico.org/IPv4IPIPTunnelAddr"


class _PodNetwork(msgspec.Struct, rename="camel", omit_defaults=True):
    pod_cidr: Annotated[str, "where the node's pods have their addresses"] = msgspec.field(
        name="podCIDR", default=""
    )


class _NodeSpec(msgspec.Struct, rename="camel", omit_defaults=True):
    internal_node_spec: _PodNetwork = msgspec.field(default_factory=_PodNetwork)


class _NodeStatus(msgspec.Struct, rename="camel", omit_defaults=True):
    node_annotations: dict[str, str] = {}


class NodeNetwork(Object, kw_only=True):
    """A node's record as far as its addresses go."""

    spec: _NodeSpec = msgspec.field(default_factory=_NodeSpec)
    status: _NodeStatus = msgspec.field(default_factory=_NodeStatus)

    @property
    def address(self) -> str:
        """The address that traffic of the node itself comes from, as a network of one; empty when not known."""
        text = self.status.node_annotations.get(_TUNNEL_ADDRESS) or self.spec.internal_node_spec.pod_cidr
        try:
            return (
                str(ipaddress.ip_network(ipaddress.ip_interface(text).network.network_address))
                if text
                else ""
            )
        except ValueError:
            return ""


NODE_NETWORKS: Final[Kind[NodeNetwork]] = Kind(
    group=NODES.group,
    version=NODES.version,
    plural=NODES.plural,
    kind=NODES.kind,
    namespaced=True,
    type=NodeNetwork,
)


class Surroundings(NamedTuple):
    """What is known of clusters and their like.

    `isolated` are clusters whose projects are kept apart, `addresses` those of each cluster's nodes, as networks of
    one address. `leaving` are projects (``<cluster>:<project>``) that are being deleted. `token_secrets` are the
    Secrets that hold each cluster's registration tokens.
    """

    isolated: frozenset[str] = frozenset()
    addresses: Mapping[str, tuple[str, ...]] = {}
    system_namespaces: tuple[str, ...] = ()
    workspaces: tuple[str, ...] = ()
    leaving: frozenset[str] = frozenset()
    token_secrets: Mapping[str, tuple[str, ...]] = {}


def surroundings_of(
    *,
    clusters: Iterable[Cluster],
    nodes: Iterable[NodeNetwork],
    projects: Iterable[Project],
    settings: Iterable[Setting],
    workspaces: Iterable[FleetWorkspace],
    registrations: Iterable[ClusterRegistrationToken],
) -> Surroundings:
    """What these objects say."""
    isolated = frozenset(one.metadata.name for one in clusters if one.spec.enable_network_policy)
    addresses: dict[str, set[str]] = {}
    for node in nodes:
        if node.metadata.namespace in isolated and node.address:
            addresses.setdefault(node.metadata.namespace, set()).add(node.address)
    secrets: dict[str, set[str]] = {}
    for one in registrations:
        if one.status.token_secret_name:
            secrets.setdefault(one.metadata.namespace, set()).add(one.status.token_secret_name)
    return Surroundings(
        isolated=isolated,
        addresses={name: tuple(sorted(found)) for name, found in addresses.items()},
        system_namespaces=system_namespaces(settings),
        workspaces=tuple(
            sorted(
                one.metadata.name
                for one in workspaces
                if not one.is_deleting and one.metadata.name != _LOCAL_WORKSPACE
            )
        ),
        leaving=frozenset(f"{p.metadata.namespace}:{p.metadata.name}" for p in projects if p.is_deleting),
        token_secrets={name: tuple(sorted(found)) for name, found in secrets.items()},
    )


def system_namespaces(settings: Iterable[Setting]) -> tuple[str, ...]:
    """The namespaces that belong to the project System of each cluster."""
    stored = next((one for one in settings if one.metadata.name == SYSTEM_NAMESPACES), None)
    text = BY_NAME[SYSTEM_NAMESPACES].default if stored is None else stored.value or stored.default
    return tuple(sorted({name.strip() for name in text.split(",") if name.strip()}))
