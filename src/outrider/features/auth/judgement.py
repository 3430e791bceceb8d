"""Who a token speaks for: the decision, without reading or writing anything (contract, auth-and-rbac §1.9)."""

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from outrider.apis.management.principal import Principal
from outrider.apis.management.token import Token
from outrider.apis.management.user import User
from outrider.apis.management.user_attribute import UserAttribute
from outrider.features.auth.tokens import is_session, local_principal
from outrider.features.auth.ttl import expires_at, idle_until
from outrider.kube.identity import Identity, impersonation_headers

AUTOMATIC_GROUPS = ("system:authenticated", "system:cattle:authenticated")
MUST_AUTHENTICATE = "must authenticate"
EXPIRED = "Expired"
SCOPE_MISMATCH = "clusterID does not match"

_LOCAL_GROUP = "local://"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision stands on: objects as stored, and whether the presented secret has the stored hash.

    `cluster` is the one that the request is for, empty for the management plane's own API. `providers` are
    the enabled identity providers. Times are in UTC.
    """

    token: Token | None
    secret_matches: bool
    user: User | None
    attribute: UserAttribute | None = None
    providers: frozenset[str]
    cluster: str
    host: str
    now: datetime
    idle_minutes: int


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """The credential is good until `ends` (None: no end is known)."""

    identity: Identity
    ends: datetime | None = None


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """The credential is not good. `message` is the client's, `reason` is for the log only."""

    message: str = MUST_AUTHENTICATE
    code: str = "Unauthorized"
    reason: str


def judge(facts: Facts) -> Accepted | Refused:
    """Decide by the contract's steps, in its order."""
    token = facts.token
    if token is None or not facts.secret_matches:
        return Refused(reason="no such token")
    ends = token_ends(token, idle_minutes=facts.idle_minutes)
    flaw = _flaw(token, facts, ends)
    if flaw is not None:
        return flaw
    user = facts.user
    if user is None or user.metadata.name != token.user_id:
        return Refused(reason="no such user")
    return _accept(user, token, facts.attribute, host=facts.host, ends=ends)


def _flaw(token: Token, facts: Facts, ends: datetime | None) -> Refused | None:
    if token.enabled is False or token.is_deleting:
        return Refused(reason="token disabled")
    if ends is not None and facts.now >= ends:
        return Refused(code=EXPIRED, reason="token expired")
    if token.cluster_name and token.cluster_name != facts.cluster:
        return Refused(message=SCOPE_MISMATCH, reason="token of another cluster")
    if token.auth_provider not in facts.providers:
        return Refused(reason="provider disabled")
    return None


def judge_password(user: User, attribute: UserAttribute | None, *, host: str) -> Accepted | Refused:
    """Decide for a user whose password was right and came by HTTP Basic."""
    if user.must_change_password:
        return Refused(
            message="the password must be changed first: sign in and choose a new one",
            reason="password must be changed",
        )
    return _accept(user, None, attribute, host=host, ends=None)


def _accept(
    user: User, token: Token | None, attribute: UserAttribute | None, *, host: str, ends: datetime | None
) -> Accepted | Refused:
    if user.enabled is False or user.is_deleting:
        return Refused(reason="user disabled")
    if is_reserved(user.metadata.name):
        return Refused(reason="a user of a reserved name")
    identity = identity_of(user, token, attribute, host=host)
    try:
        impersonation_headers(identity)
    except ValueError:
        return Refused(reason="an identity that cannot be impersonated")
    return Accepted(identity=identity, ends=ends)


def token_ends(token: Token, *, idle_minutes: int) -> datetime | None:
    """When a token ends, by its ttl or by idleness of its session; None when never."""
    ends = [expires_at(token.metadata.creation_timestamp, token.ttl)]
    if is_session(token):
        ends.append(idle_until(parse_time(token.activity_last_seen_at), idle_minutes=idle_minutes))
    return min((end for end in ends if end is not None), default=None)


def identity_of(user: User, token: Token | None, attribute: UserAttribute | None, *, host: str) -> Identity:
    """The name, groups and extras under which Kubernetes knows the user."""
    principal = (token.user_principal if token is not None else None) or local_principal(user)
    extra = {
        "principalid": (principal.metadata.name,),
        "username": (principal.login_name or user.username,),
        "requesttokenid": (token.metadata.name if token is not None else "",),
        "requesthost": (host,),
    }
    return Identity(
        user=user.metadata.name,
        groups=groups_of(token, attribute),
        extra={key: values for key, values in extra.items() if values[0]},
    )


def groups_of(token: Token | None, attribute: UserAttribute | None) -> tuple[str, ...]:
    """Sorted groups: of the attribute, else of the token; never a reserved one beside the automatic two."""
    named = {_group_name(principal) for principal in _group_principals(token, attribute)}
    granted = {name for name in named if name and not is_reserved(name)}
    return (*sorted(granted), *AUTOMATIC_GROUPS)


def _group_principals(token: Token | None, attribute: UserAttribute | None) -> Iterable[Principal]:
    if attribute is not None and attribute.group_principals is not None:
        for principals in attribute.group_principals.values():
            yield from principals.items or ()
    elif token is not None:
        yield from token.group_principals or ()


def _group_name(principal: Principal) -> str:
    return principal.metadata.name.removeprefix(_LOCAL_GROUP)


def is_reserved(name: str) -> bool:
    """Whether Kubernetes gives meaning to the name: no provider may hand out `system:masters`.

    The name counts with and without its provider's scheme, so that nobody need ask who takes it off, and where.
    """
    bare = name.strip().lower()
    return bare.startswith("system:") or bare.rpartition("://")[2].strip().startswith("system:")


def parse_time(text: str | None) -> datetime | None:
    """RFC 3339 to a time in UTC; None for nothing or nonsense."""
    if not text:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)
