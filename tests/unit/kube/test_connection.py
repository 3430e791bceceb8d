"""The HTTP/1.1 reader without a socket: whatever comes, in whatever pieces."""

import asyncio
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from outrider.kube.connection import Connection, ConnectionBroken


class Wire:
    """The transport's end of a connection."""

    def __init__(self) -> None:
        self.closing = False
        self.reading = True
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


def connected() -> tuple[Connection, Wire]:
    connection, wire = Connection(), Wire()
    connection.connection_made(wire)  # type: ignore[arg-type]
    return connection, wire


async def exchange(pieces: list[bytes], *, head: bool = False) -> tuple[int, bytes] | str:
    """What a reader sees when the server sends the pieces and then closes."""
    connection, wire = connected()
    connection.begin(b"x", is_head_request=head)
    for piece in pieces:
        if not wire.closing:
            connection.data_received(piece)
    connection.connection_lost(None)
    try:
        await connection.read_head()
        body = b""
        while chunk := await connection.read_chunk():
            body += chunk
    except ConnectionBroken as error:
        return str(error)
    return connection.status, body


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True) if a < b]


ANSWERS: list[tuple[bytes, tuple[int, bytes]]] = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", (200, b"hello")),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        (200, b"hello"),
    ),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: 1\r\n\r\n",
        (200, b"hello"),
    ),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", (201, b"")),
    (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"")),
    (b"HTTP/1.1 410 Gone\r\nConnection: close\r\n\r\nto the end", (410, b"to the end")),
]


@pytest.mark.parametrize(("data", "expected"), ANSWERS)
@given(st.lists(st.integers(0, 200), max_size=12))
def test_an_answer_is_the_same_however_it_is_cut(
    data: bytes, expected: tuple[int, bytes], cuts: list[int]
) -> None:
    assert asyncio.run(exchange(split(data, cuts))) == expected


@pytest.mark.parametrize(("data", "expected"), ANSWERS[:3])
@given(st.integers(0, 200))
def test_an_answer_that_is_cut_off_is_never_taken_for_whole(
    data: bytes, expected: tuple[int, bytes], length: int
) -> None:
    length %= len(data)
    result = asyncio.run(exchange([data[:length]]))
    assert isinstance(result, str)


@given(st.lists(st.binary(max_size=200), max_size=5), st.booleans())
@example([b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"], False)
@example([b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nx"], False)
@example([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc"], False)
@example([b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nraw"], False)
def test_no_bytes_make_it_hang_or_fail_otherwise(pieces: list[bytes], head: bool) -> None:
    async def bounded() -> Any:
        async with asyncio.timeout(5):
            return await exchange(pieces, head=head)

    assert asyncio.run(bounded()) is not None


mutations = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4)


@given(st.sampled_from([data for data, _ in ANSWERS]), mutations)
def test_a_damaged_answer_ends_in_an_answer_or_an_error(data: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(data)
    for place, value in changes:
        damaged[place % len(damaged)] = value

    async def bounded() -> Any:
        async with asyncio.timeout(5):
            return await exchange([bytes(damaged)])

    assert asyncio.run(bounded()) is not None


async def test_reading_pauses_while_nobody_takes_the_data() -> None:
    connection, wire = connected()
    connection.begin(b"x", is_head_request=False)
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n")
    await connection.read_head()
    for _ in range(40):
        connection.data_received(b"x" * 100_000)
        if not wire.reading:
            break
    assert not wire.reading
    assert connection._buffered < 1_200_000
    while not wire.reading:
        await connection.read_chunk()
    assert 0 < connection._buffered <= 600_000


async def test_a_connection_is_idle_only_between_whole_exchanges() -> None:
    connection, wire = connected()
    assert connection.is_idle
    connection.begin(b"GET", is_head_request=False)
    assert not connection.is_idle
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
    assert not connection.is_idle
    connection.data_received(b"k")
    assert await connection.read_chunk() + await connection.read_chunk() == b"ok"
    assert connection.is_idle
    assert wire.written == b"GET"
    connection.data_received(b"HTTP/1.1 200 OK\r\n")
    assert not connection.is_idle
    assert wire.closing
    with pytest.raises(ConnectionBroken):
        connection.begin(b"GET", is_head_request=False)
