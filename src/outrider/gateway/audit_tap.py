"""Copies of bodies for audit levels 2 and 3: at most 64 KB of each, handed to the writer unparsed.

What a record and its bodies look like on the way to the writer: the record's line, and before its newline a tab
and a `Bodies` as JSON. Neither holds another tab or newline, so a reader finds the next record after any damage.
"""

import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from outrider.gateway.exchange import Exchange

BODY = 64 * 1024
"""Bytes of a body that are kept."""
MAX_HELD = 32 << 20
"""Bytes that the copies of all running exchanges may take; later ones keep less, and say so."""

_encode = msgspec.json.Encoder().encode
_MEDIA = re.compile(rb"(?im)^content-type: *([^\r\n]{0,200})")
_CODING = re.compile(rb"(?im)^content-encoding: *([^\r\n]{0,100})")


class Copied(msgspec.Struct, rename="camel", omit_defaults=True, frozen=True):
    """The beginning of a body; `length` is the whole body's, in bytes."""

    length: int
    data: bytes = b""
    media: str = ""
    coding: str = ""

    def __repr__(self) -> str:
        return f"Copied(length={self.length})"


class Bodies(msgspec.Struct, rename="camel", omit_defaults=True, frozen=True):
    """What was copied of an exchange. With `name_only` the request is a login of which only the name is shown."""

    request: Copied | None = None
    response: Copied | None = None
    name_only: bool = False


class Holdings:
    """How many bytes all copies of this process take."""

    __slots__ = ("held", "limit")

    def __init__(self, limit: int = MAX_HELD) -> None:
        self.held = 0
        self.limit = limit


class _Copy:
    __slots__ = ("_holdings", "_kept", "_length", "coding", "media")

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._kept = bytearray()
        self._length = 0
        self.media = b""
        self.coding = b""

    def add(self, data: bytes | memoryview) -> None:
        """Keeps what there is room for."""
        holdings = self._holdings
        self._length += len(data)
        room = min(BODY - len(self._kept), holdings.limit - holdings.held, len(data))
        if room > 0:
            self._kept += data[:room]
            holdings.held += room

    def take(self) -> Copied | None:
        """What was kept, which is forgotten here; None when there was no body."""
        kept, self._kept = bytes(self._kept), bytearray()
        self._holdings.held -= len(kept)
        if not self._length:
            return None
        return Copied(
            length=self._length,
            data=kept,
            media=self.media.decode("latin-1"),
            coding=self.coding.decode("latin-1"),
        )


class Tap:
    """Gets to see an exchange's bodies as they pass; exchanges that nobody looks into have none."""

    __slots__ = ("_name_only", "_request", "_response")

    def __init__(self, holdings: Holdings, *, request: bool, response: bool, name_only: bool = False) -> None:
        self._request = _Copy(holdings) if request else None
        self._response = _Copy(holdings) if response else None
        self._name_only = name_only

    def on_request(self, data: bytes | memoryview) -> None:
        """Bytes of the request's body."""
        if self._request is not None:
            self._request.add(data)

    def on_head(self, lines: bytes, body: bytes | memoryview) -> None:
        """The final response's header lines, and the first bytes of its body."""
        copy = self._response
        if copy is not None:
            copy.media = _first(_MEDIA, lines)
            copy.coding = _first(_CODING, lines)
            copy.add(body)

    def on_response(self, data: bytes | memoryview) -> None:
        """Bytes of the response's body."""
        if self._response is not None:
            self._response.add(data)

    def attach(self, line: bytes, exchange: "Exchange") -> bytes:
        """The record's line with what was copied; the copies are let go."""
        if self._request is not None:
            self._request.media = exchange.header(b"content-type")[:200]
            self._request.coding = exchange.header(b"content-encoding")[:100]
        request = self._request.take() if self._request is not None else None
        response = self._response.take() if self._response is not None else None
        if request is None and response is None:
            return line
        bodies = Bodies(request=request, response=response, name_only=self._name_only)
        return b"%b\t%b\n" % (line[:-1], _encode(bodies))

    def release(self) -> None:
        """Lets the copies go: nobody will look at them."""
        for copy in (self._request, self._response):
            if copy is not None:
                copy.take()


def _first(pattern: re.Pattern[bytes], lines: bytes) -> bytes:
    found = pattern.search(lines)
    return found.group(1).strip() if found is not None else b""
