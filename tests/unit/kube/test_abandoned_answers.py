"""An answer that its reader left lying must not become part of the next one."""

from __future__ import annotations

from typing import Any

import pytest

from outrider.kube.connection import Connection

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret"


class Pipe:
    """A transport that takes everything."""

    def __init__(self) -> None:
        self.closing = False

    def write(self, data: bytes) -> None:
        pass

    def abort(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing


@pytest.fixture
def connection() -> Connection:
    made, pipe = Connection(), Pipe()
    transport: Any = pipe
    made.connection_made(transport)
    made.begin(b"GET / HTTP/1.1\r\n\r\n", is_head_request=False)
    made.data_received(ANSWER)
    return made


async def test_a_connection_with_an_unread_answer_is_not_used_again(connection: Connection) -> None:
    await connection.read_head()
    assert not connection.is_idle
    assert await connection.read_chunk() == b"secret"
    assert connection.is_idle
