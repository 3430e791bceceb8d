"""Who a request is made for, and how that is told to a Kubernetes API server."""

import msgspec

# RFC 9110 §5.6.2 "token", without "%", which begins an escape.
_KEY_BYTES = frozenset(b"!#$&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")


class Identity(msgspec.Struct, frozen=True):
    """A verified user: name, groups, and extra attributes (key → values)."""

    user: str
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = {}


def impersonation_headers(identity: Identity) -> list[tuple[str, str]]:
    """Return the ``Impersonate-*`` headers that make a request act as ``identity``.

    Keys of extras are lower-case and percent-encoded where a header name may not hold a byte (Kubernetes,
    "User impersonation"). Raises ValueError for an identity that a header cannot carry unchanged: one that
    is empty, has control characters, or begins or ends with white space, which the receiver would trim into
    another name.
    """
    headers = [("Impersonate-User", _value("user name", identity.user))]
    headers += [("Impersonate-Group", _value("group", group)) for group in identity.groups]
    seen: set[str] = set()
    for key, values in identity.extra.items():
        name = _extra_key(key)
        if name in seen:
            raise ValueError(f"extra keys of an identity must differ in more than case: {key!r}")
        seen.add(name)
        headers += [(f"Impersonate-Extra-{name}", _value(f"extra {key!r}", value)) for value in values]
    return headers


def _value(what: str, value: str) -> str:
    if not value:
        raise ValueError(f"an identity's {what} is empty")
    # `str.strip` trims more than HTTP does (U+00A0, …): refusing those too costs nothing.
    if value != value.strip() or any(ord(c) < 0x20 or ord(c) == 0x7F for c in value):
        raise ValueError(f"an identity's {what} has control characters or white space at an end")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"an identity's {what} is not valid Unicode") from None
    return value


def _extra_key(key: str) -> str:
    if not key:
        raise ValueError("an identity has an extra with an empty key")
    return "".join(chr(b) if b in _KEY_BYTES else f"%{b:02x}" for b in key.lower().encode())
