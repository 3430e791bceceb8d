"""The plain response's parser against llhttp."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.kit import http1
from outrider.kit.plain import plain_head

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\nAudit-Id: 1\r\n\r\n"


class Heard:
    """What llhttp says of a response."""

    def __init__(self, data: bytes) -> None:
        self.lines: list[bytes] = []
        self.length = -1
        self.body = b""
        self.done = self.headed = self.failed = False
        self.parser = httptools.HttpResponseParser(self)
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.failed = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-length":
            self.length = int(value)
        elif name.lower() not in http1.HOP_BY_HOP:
            self.lines.append(name + b":" + value.strip(b" \t"))  # it leaves tabs at the end

    def on_headers_complete(self) -> None:
        self.headed = True

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.done = True


def normal(lines: bytes) -> list[bytes]:
    """Lines without the white space around values, which llhttp takes away."""
    parts = (line.partition(b":") for line in lines.split(b"\r\n")[:-1])
    return [name + b":" + value.strip(b" \t") for name, _, value in parts]


def test_takes_an_ordinary_answer() -> None:
    assert plain_head(HEAD + b"hello") == (
        200,
        5,
        b"Content-Type: application/json\r\nAudit-Id: 1\r\n",
        len(HEAD),
    )


@pytest.mark.parametrize(
    "head",
    [
        HEAD[:-2],
        HEAD.replace(b"200 OK", b"204 No Content"),
        HEAD.replace(b"200 OK", b"304 Not Modified"),
        HEAD.replace(b"200 OK", b"101 Switching Protocols"),
        HEAD.replace(b"200 OK", b"100 Continue"),
        HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"),
        HEAD.replace(b"Content-Length: 5", b"Content-Length: +5"),
        HEAD.replace(b"Content-Length: 5", b"Content-Length: 5 "),
        HEAD.replace(b"Content-Length: 5", b"Content-Length: 9999999999999999"),
        HEAD.replace(b"Content-Length: 5", b"Content-Length: "),
        HEAD.replace(b"Audit-Id: 1", b"content-length: 6"),
        HEAD.replace(b"Audit-Id: 1", b"Transfer-Encoding: chunked"),
        HEAD.replace(b"Audit-Id: 1", b"Connection: close"),
        HEAD.replace(b"Audit-Id: 1", b"Audit Id: 1"),
        HEAD.replace(b"Audit-Id: 1", b"Audit-Id: 1\r\n folded"),
        HEAD.replace(b"Audit-Id: 1", b"Audit-Id: \x00"),
        HEAD.replace(b"Audit-Id: 1", b"Audit-Id: 1\nX: 2"),
        b"x" + HEAD,
        b"",
    ],
)
def test_declines_whatever_is_not_plain(head: bytes) -> None:
    assert plain_head(head + b"hello") is None


PIECES = st.sampled_from(
    [
        b"Content-Length: 3",
        b"content-length: 3",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
        b"A: b",
        b"X-Y:z",
        b"A:\t b \t",
        b" fold",
        b"Bad Name: x",
        b"N: \x01",
        b"Upgrade: h2",
        b"Trailer: T",
        b"Date: now",
        b":",
        b"\r",
        b"E:",
    ]
)


@given(
    st.sampled_from(
        [
            b"HTTP/1.1 200 OK",
            b"HTTP/1.1 404",
            b"HTTP/1.1 500 ",
            b"HTTP/1.1 204 x",
            b"HTTP/1.0 200 OK",
            b"HTTP/2 200",
        ]
    ),
    st.lists(PIECES, max_size=6),
    st.binary(max_size=6),
)
def test_says_what_llhttp_says(status: bytes, lines: list[bytes], body: bytes) -> None:
    data = status + b"\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body
    head = plain_head(data)
    if head is None:
        return
    code, length, kept, start = head
    heard = Heard(data[: start + length])
    assert not heard.failed
    assert heard.headed
    assert (heard.parser.get_status_code(), heard.length) == (code, length)
    assert heard.lines == normal(kept)
    assert heard.body == data[start : start + length]
    assert heard.done == (len(body) >= length)
