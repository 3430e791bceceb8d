"""clusterregistrationtokens.management.cattle.io: join tokens of a cluster (spec: clusters §2.1)."""

from typing import Annotated, ClassVar

import msgspec

from outrider.apis.crd import AGE, Column, Resource, immutable
from outrider.apis.management.group import GROUP, VERSION
from outrider.apis.schema import Shape, prop
from outrider.kube.kind import Kind
from outrider.kube.meta import Condition, Object

# A hundred years in the smaller unit: more is a slip of the keyboard, and would leave the calendar.
_MAX_TTL = 100 * 366 * 86400


class ClusterRegistrationTokenSpec(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """Which cluster the token admits, and for how long."""

    shape: ClassVar[Shape] = Shape(
        rules=(immutable("clusterName", why="make a token in the other cluster's namespace instead"),),
    )

    cluster_name: Annotated[
        str,
        prop(
            "Id of the cluster that agents register with. Must be the namespace of this object.",
            required=True,
            min_length=1,
            max_length=63,
        ),
    ] = ""
    ttl: Annotated[
        int | None,
        prop(
            "How long the token is valid, in the unit of setting crt-ttl-unit (seconds by default)."
            " 0 or less: for ever. Absent: setting crt-default-ttl-minutes."
            " status.expiresAt says when it ends.",
            maximum=_MAX_TTL,
        ),
    ] = None
    grace_period: Annotated[
        int | None,
        prop(
            "Minutes during which the previous token still works after a rotation."
            " Absent: setting crt-default-grace-period-minutes.",
            maximum=_MAX_TTL,
        ),
    ] = None


class ClusterRegistrationTokenStatus(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """How to use the token. The commands hold the placeholder {token}: its value is in a Secret."""

    conditions: Annotated[
        list[Condition], prop("Details of the state, one entry a type.", list_keys=("type",))
    ] = []
    token: Annotated[str, prop("Always empty: the value is in the Secret tokenSecretName.")] = ""
    token_secret_name: Annotated[str, prop("Secret in this namespace that holds the token's value.")] = ""
    command: Annotated[str, prop("Imports the cluster that kubectl points to.")] = ""
    insecure_command: Annotated[str, prop("The same, without checking this server's certificate.")] = ""
    manifest_url: Annotated[str, prop("Where the manifest of the agent is served.")] = ""
    node_command: Annotated[str, prop("Joins a Linux machine to the cluster.")] = ""
    insecure_node_command: Annotated[str, prop("The same, without checking this server's certificate.")] = ""
    windows_node_command: Annotated[str, prop("Joins a Windows machine to the cluster.")] = ""
    insecure_windows_node_command: Annotated[
        str, prop("The same, without checking this server's certificate.")
    ] = ""
    expires_at: Annotated[str, prop("When the token ends or is rotated (RFC 3339). Absent: never.")] = ""
    grace_period_expires_at: Annotated[
        str, prop("Until when the token before the last rotation still works (RFC 3339).")
    ] = ""


class ClusterRegistrationToken(Object, kw_only=True):
    """A token with which agents join a cluster; it lives in the namespace of that cluster.

    That the namespace is the cluster's is checked by an admission policy and by the controller: CEL rules
    of a CRD cannot see `metadata.namespace`.
    """

    resource: ClassVar[Resource] = Resource(
        status=True,
        short_names=("crt",),
        columns=(
            Column("Cluster", ".spec.clusterName", description="Cluster that agents register with."),
            Column("Expires", ".status.expiresAt", description="When the token ends or is rotated."),
            AGE,
            Column("Manifest", ".status.manifestUrl", description="Where the manifest is served.", wide=True),
        ),
    )

    spec: Annotated[
        ClusterRegistrationTokenSpec, prop("Which cluster the token admits, and for how long.", required=True)
    ] = msgspec.field(default_factory=ClusterRegistrationTokenSpec)
    status: Annotated[ClusterRegistrationTokenStatus, prop("How to use the token.")] = msgspec.field(
        default_factory=ClusterRegistrationTokenStatus
    )


REGISTRATION_TOKENS: Kind[ClusterRegistrationToken] = Kind(
    group=GROUP,
    version=VERSION,
    plural="clusterregistrationtokens",
    kind="ClusterRegistrationToken",
    namespaced=True,
    type=ClusterRegistrationToken,
)
