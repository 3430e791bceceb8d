"""HTTP/1.1 heads as bytes: the pieces that the gateway and the agent share (RFC 9110, RFC 9112).

llhttp (httptools) parses; this module holds what it leaves to its users: which headers end at a hop, how a
status line is spelled, and the proof that a block of header lines is nothing but well-formed header lines.
"""

import functools
import http
import re

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers that end at each hop (RFC 9110 §7.6.1), in lower case."""

MAX_HEAD = 64 * 1024
"""Bytes of a request's or response's head that are accepted: twice what kube-apiserver's clients ever send."""

_FRAMING = rb"content-length|transfer-encoding|connection|keep-alive|proxy-connection|upgrade|trailer|te"
_IDENTITY = (
    rb"authorization|proxy-authorization|cookie|impersonate-[^:]*|x-remote-[^:]*|x-outrider-[^:]*|host"
)


def _lines_without(names: bytes) -> bytes:
    # A line matches in one way only, so that giving lines back costs no more than one look each. Not possessive as a
    # whole: up to Python 3.11.4 such a group does not match what it should (python/cpython#106052).
    return rb"(?:(?!(?i:" + names + rb"):)[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e\x80-\xff]*+\r\n)*"


LINES: bytes = _lines_without(_FRAMING)
"""Pattern of header lines, each with its CRLF, none of them about framing."""

_LINES = re.compile(LINES)
_REQUEST_LINE = re.compile(rb"[A-Z]+ [\x21-\x7e]+ HTTP/1\.1\r\n")
_REQUEST_LINES = re.compile(_lines_without(_FRAMING + b"|" + _IDENTITY))
_PROTOCOL = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z/]{0,64}")


def well_formed(lines: bytes) -> bool:
    """Whether `lines` is a sequence of header lines, each ending in CRLF, none of them about framing.

    What passes can be put into a head as it is: it can neither end the head, nor start another message, nor
    change how the body is delimited.
    """
    return _LINES.fullmatch(lines) is not None


def forwardable(head: bytes, upgrade: bytes) -> bool:
    """Whether a request's head may be sent on with credentials of ours.

    It must be a request line and well-formed lines, none of which speaks of framing, identity or Host: so no
    peer can slip an identity past whoever adds the verified one.
    """
    end = head.find(b"\r\n") + 2
    lines = head[end:]
    if _REQUEST_LINE.fullmatch(head, 0, end) is None or _PROTOCOL.fullmatch(upgrade) is None:
        return False
    return _harmless_familiar(lines) if len(lines) <= _FAMILIAR else _harmless(lines)


def _harmless(lines: bytes) -> bool:
    return _REQUEST_LINES.fullmatch(lines) is not None


# A client sends the same lines with every request, and whether they are harmless depends on nothing else.
_FAMILIAR = 1024
_harmless_familiar = functools.lru_cache(maxsize=512)(_harmless)


def _status_lines() -> dict[int, bytes]:
    return {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in http.HTTPStatus}


STATUS_LINES = _status_lines()


def status_line(status: int) -> bytes:
    """The status line with its CRLF; statuses that have no registered phrase get an empty one."""
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def named_in_connection(value: bytes) -> set[bytes]:
    """Header names that a `Connection` value ends at this hop, in lower case (RFC 9110 §7.6.1)."""
    return {token.strip() for token in value.lower().split(b",")} - {b"", b"close", b"keep-alive", b"upgrade"}


def without(lines: list[bytes], names: set[bytes]) -> list[bytes]:
    """The header lines whose names are not among `names` (lower case)."""
    return [line for line in lines if line[: line.index(b":")].lower() not in names]


def request_framing(length: int) -> bytes:
    """Framing lines of a request: `length` bytes of body, none for 0, chunks for a negative one."""
    if length == 0:
        return b""
    return b"content-length: %d\r\n" % length if length > 0 else b"transfer-encoding: chunked\r\n"


LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes | memoryview) -> bytes:
    """`data`, which must not be empty, as one chunk (RFC 9112 §7.1)."""
    return b"".join((b"%x\r\n" % len(data), data, b"\r\n"))
