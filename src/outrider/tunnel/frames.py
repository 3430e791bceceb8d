"""The tunnel's frames: what goes between a server replica and an agent inside WebSocket messages.

A frame is `type u8, stream u32, length u32, payload`, big endian. Bit 0x80 of the type is FIN: the sender has
nothing more to say on that stream. One WebSocket message holds any number of whole frames, so that everything
which became ready in one turn of the event loop costs one write and one TLS record.

Requests go from the server to the agent only; an agent can open nothing.
"""

from struct import Struct
from typing import Final

FRAME: Final[Struct] = Struct(">BII")
HEADER_SIZE: Final[int] = FRAME.size

FIN: Final[int] = 0x80
OPEN: Final[int] = 1
"""Server: a request. `claim length u32, body length i64, head length u32, upgrade length u8, claim, head, upgrade`.
The body length is -1 when it is not known; upgrade names the protocol asked for."""
HEAD: Final[int] = 2
"""Agent: a response's head. `status u16, body length i64, lines length u32, lines, first body bytes`.
An informational status (1xx) may come before the final one; 101 turns the stream into raw bytes."""
DATA: Final[int] = 3
"""Bytes of a body, or raw bytes after 101."""
TRAILERS: Final[int] = 4
"""Agent: trailer lines after the last DATA; implies FIN."""
RESET: Final[int] = 5
"""The stream is over, unfinished; the payload says why (UTF-8). With FIN from an agent: nothing of the request has
reached the API server, so that it may be sent again whatever its method."""
WINDOW: Final[int] = 6
"""`credit u32`: the other side may send that many bytes of DATA more on this stream."""
MESSAGE: Final[int] = 7
"""Stream 0: part of a control message (JSON); FIN marks its last part."""

KINDS = range(OPEN, MESSAGE + 1)

OPENING: Final[Struct] = Struct(">IqIB")
HEADING: Final[Struct] = Struct(">HqI")
CREDIT: Final[Struct] = Struct(">I")

MAX_PAYLOAD: Final[int] = 1 << 20
"""Bytes in one frame. Senders stay below: they pass on what one read of a socket gave (256 KiB)."""
MAX_MESSAGE: Final[int] = 64 << 20
"""Bytes of one control message, all its parts together."""
MESSAGE_PART: Final[int] = 256 * 1024

INITIAL_WINDOW: Final[int] = 256 * 1024
"""Credit that each direction of a stream starts with, in bytes."""
MAX_WINDOW: Final[int] = 4 << 20
"""Largest credit that a reader which keeps up is granted."""


class FrameError(Exception):
    """The peer broke the protocol; the tunnel must be dropped. The text says how."""


class Request:
    """A request as it goes to a backend.

    `head` is the request line and the end-to-end header lines, each ending in CRLF, without the blank line and
    without credentials, framing or Host. `length` is the body's size in bytes, -1 when unknown (chunked).
    `upgrade` is the protocol asked for, or empty.
    """

    __slots__ = ("head", "length", "upgrade")

    def __init__(self, head: bytes, length: int = 0, upgrade: bytes = b"") -> None:
        self.head = head
        self.length = length
        self.upgrade = upgrade

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Request):
            return NotImplemented
        return (self.head, self.length, self.upgrade) == (other.head, other.length, other.upgrade)

    def __hash__(self) -> int:
        return hash((self.head, self.length, self.upgrade))

    def __repr__(self) -> str:
        return f"Request({self.head!r}, {self.length}, {self.upgrade!r})"

    @property
    def method(self) -> bytes:
        """The request's method."""
        return self.head[: self.head.index(b" ")]

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent twice: it changes nothing and has no body (RFC 9110 §9.2.2)."""
        return self.length == 0 and not self.upgrade and self.method in {b"GET", b"HEAD", b"OPTIONS"}


Heading = tuple[int, int, bytes, memoryview]
"""Decoded HEAD payload: status, length of the body, header lines, first bytes of the body."""


def opening(claim: bytes, request: Request) -> bytes:
    """An OPEN payload."""
    head, upgrade = request.head, request.upgrade
    lengths = OPENING.pack(len(claim), request.length, len(head), len(upgrade))
    return b"".join((lengths, claim, head, upgrade))


def parse_opening(payload: memoryview) -> tuple[bytes, Request]:
    """The claim and the request of an OPEN payload; raises FrameError when its lengths do not fit."""
    if len(payload) < OPENING.size:
        raise FrameError("OPEN is too short")
    claim_size, length, head_size, upgrade_size = OPENING.unpack_from(payload)
    head_start = OPENING.size + claim_size
    upgrade_start = head_start + head_size
    if upgrade_start + upgrade_size != len(payload) or length < -1:
        raise FrameError("OPEN has lengths that do not fit")
    head = bytes(payload[head_start:upgrade_start])
    return bytes(payload[OPENING.size : head_start]), Request(head, length, bytes(payload[upgrade_start:]))


def heading(status: int, length: int, lines: bytes, body: bytes | memoryview = b"") -> bytes:
    """A HEAD payload."""
    return b"".join((HEADING.pack(status, length, len(lines)), lines, body))


def parse_heading(payload: memoryview) -> Heading:
    """Decodes a HEAD payload; raises FrameError when its lengths do not fit."""
    if len(payload) < HEADING.size:
        raise FrameError("HEAD is too short")
    status, length, size = HEADING.unpack_from(payload)
    body_start = HEADING.size + size
    if body_start > len(payload) or length < -1 or not 100 <= status <= 999:
        raise FrameError("HEAD has lengths or a status that do not fit")
    return status, length, bytes(payload[HEADING.size : body_start]), payload[body_start:]
