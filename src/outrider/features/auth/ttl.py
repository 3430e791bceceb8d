"""How long a token lives (contract, auth-and-rbac §1.10), as pure functions over milliseconds.

Zero milliseconds in a token mean that it never expires. Settings count minutes; a maximum below one means
that there is none.
"""

from datetime import datetime, timedelta

MINUTE = 60_000
FOREVER = 0

# a token's end must stay a date that Python and RFC 3339 can hold
_MAX_TTL = 100 * 365 * 24 * 60 * MINUTE


def token_ttl(requested: int, *, default_minutes: int, max_minutes: int) -> int:
    """The ttl that a token gets, in ms, for the requested one: never longer than the maximum.

    0 asks for the default, a negative number for no end.
    """
    maximum = max_minutes * MINUTE if max_minutes >= 1 else FOREVER
    if requested == 0:
        requested = default_minutes * MINUTE if default_minutes > 0 else maximum
    wanted = FOREVER if requested <= 0 else min(requested, _MAX_TTL)
    if maximum == FOREVER:
        return wanted
    return maximum if wanted == FOREVER else min(wanted, maximum)


def session_ttl(session_minutes: int) -> int:
    """The ttl of a login session, in ms: the setting, whatever was asked for; never endless."""
    return max(1, session_minutes) * MINUTE


def expires_at(created: datetime | None, ttl: int) -> datetime | None:
    """When a token ends; None when never. A token without a creation time counts as ended long ago."""
    if ttl <= 0:
        return None
    if created is None:
        return datetime.fromtimestamp(0).astimezone()
    return created + timedelta(milliseconds=min(ttl, _MAX_TTL))


def idle_until(last_seen: datetime | None, *, idle_minutes: int) -> datetime | None:
    """When a session ends for want of activity; None when no activity was ever recorded."""
    if last_seen is None or idle_minutes <= 0:
        return None
    return last_seen + timedelta(minutes=idle_minutes)
