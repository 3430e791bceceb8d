"""Which verified claims the agent executes: the last check before a credential is made for one.

The server authenticates and strips; the agent still refuses what no claim may hold (architecture,
decision 4): ``system:`` users, ``system:`` groups other than the two automatic ones, extras outside of the
contract (auth-and-rbac §4.4), and anything that could end a header line.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from outrider.kube.identity import Identity
from outrider.tunnel.exchange import CredentialError

AUTOMATIC_GROUPS: Final = ("system:authenticated", "system:cattle:authenticated")
EXTRAS: Final = frozenset({"principalid", "username", "requesttokenid", "requesthost"})
MAX_CLAIM: Final = 128 << 10
MAX_VALUE: Final = 1024

_USER = re.compile(r"[a-z0-9]([-a-z0-9.]{0,198}[a-z0-9])?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

_decoder = msgspec.json.Decoder(Identity)


def parse_claim(claim: bytes) -> Identity:
    """The identity of a claim. Raises CredentialError with the reason when it must not be executed."""
    if len(claim) > MAX_CLAIM:
        raise CredentialError(
            f"the identity has {len(claim)} bytes, more than {MAX_CLAIM}: the user is in too many groups"
        )
    try:
        identity = _decoder.decode(claim)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise CredentialError("the server sent an identity that cannot be read") from None
    refusal = refuse(identity)
    if refusal:
        raise CredentialError(refusal)
    return identity


def refuse(identity: Identity) -> str:
    """Why this identity must not be impersonated, or an empty string."""
    return (
        _refuse_user(identity.user)
        or next(filter(None, map(_refuse_group, identity.groups)), "")
        or next(filter(None, (_refuse_extra(key, values) for key, values in identity.extra.items())), "")
    )


def _refuse_user(user: str) -> str:
    if user.startswith("system:"):
        return f"user {user[:64]!r} is one of Kubernetes' own and is never impersonated"
    if not _USER.fullmatch(user):
        return (
            f"user {user[:64]!r} is not a valid user id (lower-case letters, digits, '-' and '.', up to 200)"
        )
    return ""


def _refuse_group(group: str) -> str:
    if group.startswith("system:") and group not in AUTOMATIC_GROUPS:
        return f"group {group[:64]!r} is one of Kubernetes' own and is never impersonated"
    return _refuse_value("group", group)


def _refuse_extra(key: str, values: tuple[str, ...]) -> str:
    if key not in EXTRAS:
        return f"extra {key[:64]!r} is not one of {', '.join(sorted(EXTRAS))}"
    return next(filter(None, (_refuse_value(f"extra {key}", value) for value in values)), "")


def _refuse_value(what: str, value: str) -> str:
    # A header's value loses the white space around it: "x " would be impersonated as "x".
    if not value or value != value.strip():
        return f"{what} {value[:64]!r} is empty or begins or ends with white space"
    if _CONTROL.search(value):
        return f"{what} {value[:64]!r} holds control characters"
    if len(value.encode()) > MAX_VALUE:
        return f"{what} {value[:64]!r}… is longer than {MAX_VALUE} bytes"
    return ""
