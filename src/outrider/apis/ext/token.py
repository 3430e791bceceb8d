"""tokens.ext.cattle.io: what a user signs in with, as `ext/<name>:<value>` (contract: auth-and-rbac §1.11)."""

from typing import Annotated, ClassVar

import msgspec

from outrider.apis.crd import AGE, Column, Resource
from outrider.apis.ext.group import GROUP, VERSION
from outrider.apis.schema import Shape, prop
from outrider.kube.kind import Kind
from outrider.kube.meta import Object

TOKEN = "token"  # noqa: S105 (a label's value)
SESSION = "session"
BEARER_PREFIX = "ext/"


class TokenPrincipal(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """Who signed in, as the identity provider knows them."""

    shape: ClassVar[Shape] = Shape(closed=True)

    name: Annotated[str, prop("Id of the principal, such as local://user-abcde.")] = ""
    display_name: Annotated[str, prop("Name that people see.")] = ""
    login_name: Annotated[str, prop("Name at sign-in.")] = ""
    profile_picture: Annotated[str, prop("URL of a picture.")] = ""
    profile_url: Annotated[str, prop("URL of a page about the principal.")] = msgspec.field(
        name="profileURL", default=""
    )
    principal_type: Annotated[str, prop("user or group.")] = ""
    me: Annotated[bool, prop("Whether it is the user who asks.")] = False
    member_of: Annotated[bool, prop("Whether the user who asks belongs to the group.")] = False
    provider: Annotated[str, prop("Name of the identity provider.")] = ""
    extra_info: Annotated[dict[str, str] | None, prop("More that the provider says.")] = None


class TokenSpec(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What a token may do. Of an existing one, description, enabled and ttl can be changed."""

    shape: ClassVar[Shape] = Shape(closed=True)

    user_id: Annotated[str, prop("Owner of the token; whoever makes it.")] = msgspec.field(
        name="userID", default=""
    )
    user_principal: Annotated[
        TokenPrincipal | None, prop("Principal of the owner; copied from the token in use.")
    ] = None
    kind: Annotated[str, prop("Empty for an API key.", enum=("", SESSION))] = ""
    description: Annotated[str, prop("What the token is for.", max_length=4096)] = ""
    ttl: Annotated[
        int,
        prop("Lifetime in milliseconds since creation; 0: the default; negative: as long as is allowed."),
    ] = 0
    enabled: Annotated[bool | None, prop("Whether the token is accepted. Default: true.")] = None
    cluster_name: Annotated[str, prop("Id of the only cluster that the token reaches; empty: all.")] = ""


class TokenStatus(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What the server says of a token."""

    shape: ClassVar[Shape] = Shape(closed=True)

    value: Annotated[str, prop("The secret; shown once, at creation.")] = ""
    bearer_token: Annotated[str, prop("The credential, ext/<name>:<value>; shown once, at creation.")] = ""
    hash: Annotated[str, prop("Hash of the secret; never shown.")] = ""
    current: Annotated[bool, prop("Whether it is the token of this request.")] = False
    expired: Annotated[bool, prop("Whether its lifetime is over.")] = False
    expires_at: Annotated[str, prop("End of its lifetime (RFC 3339); empty: never.")] = ""
    last_update_time: Annotated[str, prop("When it was last changed (RFC 3339).")] = ""
    last_used_at: Annotated[str, prop("When it was last accepted (RFC 3339).")] = ""
    last_activity_seen: Annotated[str, prop("When the session's user was last active (RFC 3339).")] = ""


class Token(Object, kw_only=True):
    """An API key or a session of a user. Each user sees their own."""

    shape: ClassVar[Shape] = Shape(closed=True)
    resource: ClassVar[Resource] = Resource(
        columns=(
            Column("User", ".spec.userID", description="User that the token speaks for."),
            Column("Kind", ".spec.kind", description="session, or empty for an API key."),
            Column(
                "Cluster", ".spec.clusterName", description="The only cluster that it reaches; empty: all."
            ),
            Column("TTL", ".spec.ttl", type="integer", description="Lifetime in milliseconds; 0: for ever."),
            Column("Expires", ".status.expiresAt", description="End of its lifetime."),
            Column("Enabled", ".spec.enabled", type="boolean", description="Whether it is accepted."),
            AGE,
            Column("Last Used", ".status.lastUsedAt", description="When it was last accepted.", wide=True),
            Column("Description", ".spec.description", description="What it is for.", wide=True),
        ),
    )

    spec: Annotated[TokenSpec, prop("What the token may do.")] = msgspec.field(default_factory=TokenSpec)
    status: Annotated[TokenStatus, prop("What the server says of it.")] = msgspec.field(
        default_factory=TokenStatus
    )


EXT_TOKENS: Kind[Token] = Kind(
    group=GROUP, version=VERSION, plural="tokens", kind="Token", namespaced=False, type=Token
)
