"""Registration tokens: their values, how long each is good for, and what happens when it expires.

Pure functions over what a ClusterRegistrationToken asks for and what its Secret holds
(contract: clusters §2.1 and §8; `ttl` is read in seconds, or in the unit that a setting or annotation names).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
TOKEN_LENGTH: Final = 54
DEFAULT_REGISTRATION: Final = "default-token"
SYSTEM_REGISTRATION: Final = "system"

UNIT_ANNOTATION: Final = "crt.cattle.io/ttl-unit"
ON_EXPIRY_ANNOTATION: Final = "crt.cattle.io/on-expiry"

_ACCEPTED = re.compile(r"[a-z0-9]{16,128}", re.ASCII)
_MIN_TTL_UNITS: Final = 30
_MIN_GRACE_MINUTES: Final = 10
_MAX_JITTER: Final = timedelta(hours=24)
_MAX_LIFETIME: Final = timedelta(days=36500)


def new_token() -> str:
    """54 characters, 256 bits and more of randomness, without vowels and look-alikes."""
    return "".join(secrets.choice(ALPHABET) for _ in range(TOKEN_LENGTH))


def token_hash(token: str) -> str:
    """Hex SHA-256 under which a token is looked up, so that no lookup compares clear text."""
    return hashlib.sha256(token.encode()).hexdigest()


def well_formed(token: str) -> bool:
    """Whether this could be a registration token at all; older servers made shorter ones."""
    return _ACCEPTED.fullmatch(token) is not None


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What the settings say about registration tokens.

    Attributes:
        unit: of `ttl` in an object that names none (setting ``crt-ttl-unit``); a grace is in minutes always.
        default_ttl: for an object without `ttl`; not positive means for ever.
        rotation: feature ``crt-token-ttl-rotation``; off, only a `ttl` that an object names makes it expire.
    """

    unit: str = "seconds"
    default_ttl: timedelta = timedelta(minutes=43200)
    default_grace: timedelta = timedelta(minutes=180)
    rotation: bool = True


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How one registration's tokens live: `ttl` None is for ever; with `revoke` no successor is made."""

    ttl: timedelta | None
    grace: timedelta
    revoke: bool


def terms(
    name: str, annotations: Mapping[str, str], ttl: int | None, grace: int | None, policy: Policy
) -> Terms:
    """The terms of a registration called `name`, from the numbers in its spec.

    A token that is replaced lives 30 units at least, so that a typing error does not make a storm of
    rotations; one that is revoked lives exactly as long as it says.
    """
    unit = _unit(annotations.get(UNIT_ANNOTATION) or policy.unit)
    revoke = _revokes(name, annotations)
    lifetime = _lifetime(ttl, unit, policy, least=1 if revoke else _MIN_TTL_UNITS)
    return Terms(ttl=lifetime, grace=_grace(grace, policy, lifetime), revoke=revoke)


def _unit(name: str) -> timedelta:
    return timedelta(minutes=1) if name == "minutes" else timedelta(seconds=1)


def _revokes(name: str, annotations: Mapping[str, str]) -> bool:
    wish = annotations.get(ON_EXPIRY_ANNOTATION, "")
    if wish in ("revoke", "rotate"):
        return wish == "revoke"
    return name not in (DEFAULT_REGISTRATION, SYSTEM_REGISTRATION)


def _lifetime(ttl: int | None, unit: timedelta, policy: Policy, *, least: int) -> timedelta | None:
    if ttl is None:
        wanted = policy.default_ttl
        return wanted if policy.rotation and wanted > timedelta() else None
    if ttl <= 0:
        return None
    return _times(unit, max(ttl, least))


def _grace(grace: int | None, policy: Policy, lifetime: timedelta | None) -> timedelta:
    minute = timedelta(minutes=1)
    wanted = policy.default_grace if grace is None else _times(minute, max(grace, _MIN_GRACE_MINUTES))
    return wanted if lifetime is None or wanted < lifetime else lifetime * 0.8


def _times(unit: timedelta, count: int) -> timedelta:
    # An int64 of seconds is more than a timedelta holds; a century is as good as for ever
    return unit * min(count, _MAX_LIFETIME // unit)


class TokenSecret(msgspec.Struct, frozen=True, kw_only=True):
    """The content of Secret ``crt-token-<registration>``. Times are aware; None means never."""

    token: str
    previous_token: str = ""
    expires_at: datetime | None = None
    grace_ends_at: datetime | None = None
    issued_at: datetime | None = None
    ttl_seconds: int = 0

    def __repr__(self) -> str:
        return f"TokenSecret(expires_at={self.expires_at}, grace_ends_at={self.grace_ends_at})"


ISSUED_AT_ANNOTATION: Final = "crt.cattle.io/issued-at"
TTL_ANNOTATION: Final = "crt.cattle.io/ttl-seconds"


def read_secret(secret: Mapping[str, Any]) -> TokenSecret | None:
    """What a Secret object holds; None when it has no token."""
    data = secret.get("data") or {}
    annotations = secret.get("metadata", {}).get("annotations") or {}
    token = _text(data, "token")
    if not token:
        return None
    return TokenSecret(
        token=token,
        previous_token=_text(data, "previousToken"),
        expires_at=parse_time(_text(data, "expiresAt")),
        grace_ends_at=parse_time(_text(data, "gracePeriodExpiresAt")),
        issued_at=parse_time(annotations.get(ISSUED_AT_ANNOTATION, "")),
        ttl_seconds=_whole(annotations.get(TTL_ANNOTATION, "")),
    )


def secret_data(secret: TokenSecret) -> dict[str, str]:
    """The `data` of the Secret, base64; absent values are left out."""
    values = {
        "token": secret.token,
        "previousToken": secret.previous_token,
        "expiresAt": format_time(secret.expires_at),
        "gracePeriodExpiresAt": format_time(secret.grace_ends_at),
    }
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items() if value}


def secret_annotations(secret: TokenSecret) -> dict[str, str]:
    """The annotations that let a changed ttl be applied to a token that was issued before."""
    values = {ISSUED_AT_ANNOTATION: format_time(secret.issued_at), TTL_ANNOTATION: str(secret.ttl_seconds)}
    return {key: value for key, value in values.items() if value}


def format_time(moment: datetime | None) -> str:
    """RFC 3339 in UTC to the second; empty for None."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else ""


def parse_time(text: str) -> datetime | None:
    """The moment that an RFC 3339 text names; None when it names none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _text(data: Mapping[str, str], key: str) -> str:
    try:
        return base64.b64decode(data.get(key) or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return ""


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def issue(wanted: Terms, now: datetime, *, token: str, jitter: float) -> TokenSecret:
    """A first token. `jitter` in [0, 1) spreads the rotations of many clusters."""
    return _scheduled(TokenSecret(token=token), wanted, now, jitter)


def _scheduled(secret: TokenSecret, wanted: Terms, issued: datetime, jitter: float) -> TokenSecret:
    return msgspec.structs.replace(
        secret,
        issued_at=issued,
        ttl_seconds=_seconds(wanted),
        expires_at=_expiry(wanted, issued, jitter),
    )


def _seconds(wanted: Terms) -> int:
    return int(wanted.ttl.total_seconds()) if wanted.ttl else 0


def _expiry(wanted: Terms, issued: datetime, jitter: float) -> datetime | None:
    if wanted.ttl is None:
        return None
    # A revoked token ends when it says it does: only a rotation may come a little later
    spread = timedelta() if wanted.revoke else min(wanted.ttl * 0.1, _MAX_JITTER) * jitter
    return (issued + wanted.ttl + spread).replace(microsecond=0)


def renew(
    secret: TokenSecret, wanted: Terms, now: datetime, *, make: Callable[[], str], jitter: float
) -> TokenSecret:
    """The secret as it has to be now: rotated when due, rescheduled when the ttl changed, else the same."""
    secret = _adopt(secret, wanted, now, jitter)
    if secret.previous_token and secret.grace_ends_at is not None and secret.grace_ends_at <= now:
        secret = msgspec.structs.replace(secret, previous_token="", grace_ends_at=None)
    if wanted.revoke or secret.expires_at is None or now < secret.expires_at:
        return secret
    rotated = TokenSecret(
        token=make(),
        previous_token=secret.token,
        grace_ends_at=(now + wanted.grace).replace(microsecond=0),
    )
    return _scheduled(rotated, wanted, now, jitter)


def _adopt(secret: TokenSecret, wanted: Terms, now: datetime, jitter: float) -> TokenSecret:
    if secret.issued_at is None:
        # From another server, or migrated: a schedule that it already has stays
        if secret.expires_at is not None:
            return msgspec.structs.replace(secret, issued_at=now, ttl_seconds=_seconds(wanted))
        return _scheduled(secret, wanted, now, jitter)
    if secret.ttl_seconds != _seconds(wanted):
        return _scheduled(secret, wanted, secret.issued_at, jitter)
    return secret


def accepts(secret: TokenSecret, wanted: Terms, presented: str, now: datetime) -> bool:
    """Whether `presented` may register now.

    A token that is due for rotation stays good for the grace period even while nobody rotates it.
    """
    if hmac.compare_digest(secret.token.encode(), presented.encode()):
        end = secret.expires_at
        if end is not None and not wanted.revoke:
            end += wanted.grace
        return end is None or now < end
    if secret.previous_token and hmac.compare_digest(secret.previous_token.encode(), presented.encode()):
        return secret.grace_ends_at is not None and now < secret.grace_ends_at
    return False


def usable(secret: TokenSecret, wanted: Terms, now: datetime) -> bool:
    """Whether the registration still lets anybody in."""
    return accepts(secret, wanted, secret.token, now)


def next_change(secret: TokenSecret, wanted: Terms, now: datetime) -> datetime | None:
    """When this has to be looked at again; None for never."""
    moments = [
        moment for moment in (secret.expires_at, secret.grace_ends_at) if moment is not None and moment > now
    ]
    return min(moments, default=None)
