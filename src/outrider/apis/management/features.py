"""The features that this server knows, as data (spec: auth §6.3, clusters §7)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Definition:
    """A known feature.

    A change of a `dynamic` one takes effect without a restart; one that is `locked` never leaves its default.
    """

    name: str
    default: bool
    dynamic: bool
    description: str
    locked: bool = False


DEFINITIONS: tuple[Definition, ...] = (
    Definition("crt-token-ttl-rotation", True, True, "Registration tokens expire and are rotated."),
    Definition(
        "cluster-agent-scheduling-customization", False, True, "Agents get a priority and disruption budget."
    ),
    Definition("hide-local-auth-provider", False, True, "Local users cannot sign in."),
    Definition("token-hashing", True, True, "Secrets of tokens are stored as hashes, always.", locked=True),
    Definition("v3-public", True, False, "Serve sign-in under /v3-public too."),
    Definition("multi-cluster-management", True, False, "Manage clusters other than this one."),
    Definition("cluster-shell", True, False, "Offer a kubectl shell for each cluster."),
    Definition("node-shell", True, False, "Offer a shell on nodes."),
    Definition("pod-shell", True, False, "Allow commands and shells in pods."),
    Definition("fleet", True, False, "Deploy from Git to clusters."),
    Definition("continuous-delivery", True, False, "Show delivery from Git in the user interface."),
)

_UNUSED = "Known for clients that read or set it; nothing here depends on it yet."


def _unused(name: str, default: bool, *, dynamic: bool = False) -> Definition:
    return Definition(name, default, dynamic, _UNUSED)


DEFINITIONS += (
    Definition(
        "aggregated-roletemplates", True, True, "Role templates inherit by aggregation, always.", locked=True
    ),
    Definition("oidc-provider", False, False, "Be an identity provider for other programs."),
    Definition("scim", False, False, "Let identity providers create users and groups by SCIM."),
    _unused("clean-stale-secrets", True),
    _unused("rke2", True),
    _unused("provisioningv2", True),
    _unused("managed-system-upgrade-controller", True),
    _unused("turtles", True),
    _unused("provisioningv2-fleet-workspace-back-population", True),
    _unused("v2prov-etcd-snapshot-backpopulate", True),
    _unused("uiextension", True),
    _unused("imported-day-2-ops", True),
    _unused("provisioningprebootstrap", False),
    _unused("consistent-hashing-cluster-ownership", False),
    _unused("harvester", True, dynamic=True),
    _unused("harvester-baremetal-container-workload", False, dynamic=True),
    _unused("unsupported-storage-drivers", False, dynamic=True),
    _unused("legacy", False, dynamic=True),
    _unused("istio-virtual-service-ui", True, dynamic=True),
    _unused("cluster-autoscaling", False),
    _unused("rancher-scc-registration-extension", False),
)

BY_NAME: dict[str, Definition] = {definition.name: definition for definition in DEFINITIONS}

# Once known to the reference and accepted without effect.
RETIRED: frozenset[str] = frozenset(
    {"external-rules", "auth", "ui-sql-cache", "dashboard", "monitoringv1", "embedded-cluster-api", "proxy"}
)
