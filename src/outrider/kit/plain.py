"""The plain response: the one shape that nearly every answer of an API server has, parsed without a callback a line.

HTTP/1.1, a final status that has a body, one Content-Length, no other framing, the whole head in one read. What
does not look exactly like that is left to llhttp. Both accept the same heads and say the same of them: a property test
compares them; where this one is in doubt it declines.
"""

import re

from outrider.kit import http1

_HEAD = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*+)?\r\n"
    rb"(" + http1.LINES + rb")Content-Length: ([0-9]{1,15})\r\n(" + http1.LINES + rb")\r\n"
)
_BODYLESS = frozenset({b"204", b"304"})

PlainHead = tuple[int, int, bytes, int]
"""Status, length of the body in bytes, end-to-end header lines, and where the body begins."""


def plain_head(data: bytes) -> PlainHead | None:
    """The head of a plain response at the beginning of `data`; None when it is not plain."""
    found = _HEAD.match(data)
    if found is None:
        return None
    status, before, length, after = found.groups()
    start = found.end()
    if status in _BODYLESS or start > http1.MAX_HEAD:
        return None
    return int(status), int(length), before + after, start
