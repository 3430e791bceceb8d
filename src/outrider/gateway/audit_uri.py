"""Request targets as the audit trail may show them (contract, auth-and-rbac §5.4).

Most targets are plain and cost one look each; what has a query, an escape or a run of characters that could be a
secret of ours is taken apart.
"""

import re
from urllib.parse import unquote

import msgspec

from outrider.gateway.audit_secrets import (
    REDACTED,
    is_secret_flag,
    is_secret_name,
    is_secret_segment,
    looks_secret,
    may_hold_secret,
)

MAX_TARGET = 4096
"""Characters of a target that are recorded; of a longer one, the beginning of its path."""
MAX_PARAMETERS = 64
"""Parameters up to which a query is taken apart; a longer one that may hold a secret is hidden whole."""
_KEPT_PATH = 1024

_encode = msgspec.json.Encoder().encode
_IMPORT = re.compile(r"/v\d{1,2}/+import/+(?=.)")


def _shapes() -> bytes:
    # "!" wants a closer look, "x" may be part of a secret of ours
    shapes = bytearray(b"." * 256)
    for byte in (*range(33), *range(127, 256), *b'%?"\\@=:'):
        shapes[byte] = ord("!")
    for byte in b"bcdfghjklmnpqrstvwxz2456789BCDFGHJKLMNPQRSTVWXZ":
        shapes[byte] = ord("x")
    return bytes(shapes)


_SHAPES = _shapes()
_RUN = b"x" * 54


def uri(target: bytes) -> bytes:
    """The target, redacted, as the inside of a JSON string."""
    if _is_plain(target):
        return target
    return _encode(redact(target))[1:-1]


def redact(target: bytes) -> str:
    """The target without its secrets: import tokens, secret parameters, whatever looks like a secret."""
    path, mark, query = target.partition(b"?")
    shown, whole = (
        (path.decode("ascii"), False) if _is_plain(path) else _path(path.decode("utf-8", "replace"))
    )
    if not mark or whole:
        return shown
    if len(query) > MAX_TARGET:
        return f"{shown}?{_shortened(query)}"
    return f"{shown}?{_query(query.decode('utf-8', 'replace'))}"


def _is_plain(target: bytes) -> bool:
    shape = target.translate(_SHAPES)
    return not (
        b"!" in shape or _RUN in shape or b"mport/" in target or b"eyJ" in target or len(target) > MAX_TARGET
    )


def _path(raw: str) -> tuple[str, bool]:
    """The path, and whether the rest of the target belongs to what was hidden."""
    if len(raw) > MAX_TARGET:
        raw = _beginning(raw)
    plain = decoded(raw)
    found = _IMPORT.search(plain)
    if found is not None:
        return plain[: found.end()] + REDACTED, True
    segments = plain.split("/")
    if any(map(is_secret_segment, segments)):
        return "/".join(REDACTED if is_secret_segment(part) else part for part in segments), False
    return raw, False


def decoded(text: str) -> str:
    """A text without percent-encoding, even when it was encoded more than once."""
    for _ in range(3):
        if "%" not in text:
            break
        text = unquote(text)
    return text


def _beginning(path: str) -> str:
    # whole segments only: half of a secret would no longer look like one
    kept = path[:_KEPT_PATH].rpartition("/")[0]
    return f"{kept}/{_shortened(path[len(kept) + 1 :])}"


def _shortened(text: str | bytes) -> str:
    return f"[{len(text)} characters]"


def _query(query: str) -> str:
    if not may_hold_secret(decoded(query.replace("+", " "))):
        return query
    parts = query.split("&")
    if len(parts) > MAX_PARAMETERS:
        return REDACTED
    kept: list[str] = []
    flagged = False
    for part in parts:
        name, _, value = part.partition("=")
        label, text = decoded(name), decoded(value.replace("+", " "))
        hidden = flagged or is_secret_name(label) or looks_secret(f"{label} {text}")
        kept.append(f"{_name(name, label)}={REDACTED}" if hidden else part)
        flagged = is_secret_flag(text)
    return "&".join(kept)


def _name(name: str, label: str) -> str:
    return REDACTED if looks_secret(label) or len(label) > 100 else name
