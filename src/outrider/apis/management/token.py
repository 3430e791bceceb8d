"""tokens.management.cattle.io: what a user signs in with (spec: auth §1.5, §1.6). Its fields are flat."""

from typing import Annotated, ClassVar

from outrider.apis.crd import AGE, Column, Resource, immutable
from outrider.apis.management.group import GROUP, VERSION
from outrider.apis.management.principal import Principal
from outrider.apis.schema import Shape, prop
from outrider.kube.kind import Kind
from outrider.kube.meta import Object

USER_LABEL = "authn.management.cattle.io/token-userId"
KIND_LABEL = "authn.management.cattle.io/kind"
KUBECONFIG_LABEL = "authn.management.cattle.io/kubeconfig-id"
HASHED_ANNOTATION = "authn.management.cattle.io/token-hashed"


class Token(Object, kw_only=True):
    """A session or an API key of a user."""

    shape: ClassVar[Shape] = Shape(
        rules=(
            immutable("userId", why="a token speaks for one user only"),
            immutable("clusterName", why="a token must not reach more than it was made for"),
            immutable("authProvider"),
        ),
    )
    resource: ClassVar[Resource] = Resource(
        columns=(
            Column("User", ".userId", description="User that the token speaks for."),
            Column(
                "Kind", r".metadata.labels.authn\.management\.cattle\.io/kind", description="What it is for."
            ),
            Column("Cluster", ".clusterName", description="The only cluster that it reaches; empty: all."),
            Column("TTL", ".ttl", type="integer", description="Lifetime in milliseconds; 0: for ever."),
            Column("Enabled", ".enabled", type="boolean", description="Whether it is accepted; empty: yes."),
            AGE,
            Column("Last Used", ".lastUsedAt", description="When it was last accepted.", wide=True),
            Column("Description", ".description", description="What it is for.", wide=True),
        ),
    )

    token: Annotated[str, prop("Hash of the secret; the secret itself is shown once, at creation.")] = ""
    user_principal: Annotated[Principal | None, prop("Principal that signed in.")] = None
    group_principals: Annotated[
        list[Principal] | None, prop("Groups at sign-in; used only where a user has no attributes.")
    ] = None
    provider_info: Annotated[dict[str, str] | None, prop("More from the identity provider.")] = None
    user_id: Annotated[
        str, prop("Name of the user that the token speaks for.", required=True, min_length=1, max_length=253)
    ] = ""
    auth_provider: Annotated[
        str, prop("Identity provider that the user signed in through.", max_length=253)
    ] = ""
    ttl: Annotated[int, prop("Lifetime in milliseconds since creation; 0 or less: for ever.")] = 0
    last_used_at: Annotated[str | None, prop("When the token was last accepted (RFC 3339).")] = None
    activity_last_seen_at: Annotated[
        str | None, prop("When the user was last seen active in this session (RFC 3339).")
    ] = None
    is_derived: Annotated[bool, prop("True for an API key, false for a session.")] = False
    description: Annotated[str, prop("What the token is for.")] = ""
    expired: Annotated[bool, prop("Computed on reading.")] = False
    expires_at: Annotated[str, prop("Computed on reading (RFC 3339); empty: never.")] = ""
    current: Annotated[bool, prop("Computed on reading: whether it is the token of this request.")] = False
    cluster_name: Annotated[
        str, prop("Id of the only cluster that the token reaches; empty: all.", max_length=253)
    ] = ""
    enabled: Annotated[bool | None, prop("Whether the token is accepted. Default: true.")] = None


TOKENS: Kind[Token] = Kind(
    group=GROUP, version=VERSION, plural="tokens", kind="Token", namespaced=False, type=Token
)
