"""The probe against a TLS server that answers what the test tells it to."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from outrider.kit import pki
from outrider.kube.embedded.probe import HttpsProbe

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    def __init__(self) -> None:
        self.answer: bytes | None = OK
        self.requests: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
        if self.answer is None:
            await reader.read()
        else:
            writer.write(self.answer)
            await asyncio.sleep(0)
        writer.transport.abort() if self.answer is None else writer.close()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    now = datetime.now(UTC)
    authority = pki.create_authority("a", now=now)
    (tmp_path / "ca.crt").write_bytes(authority.cert_pem)
    server = pki.issue_server(authority, "s", now=now, ips=["127.0.0.1"])
    (tmp_path / "server.pem").write_bytes(pki.to_bundle(server))
    (tmp_path / "client.pem").write_bytes(pki.to_bundle(pki.issue_client(authority, "c", now=now)))
    return tmp_path


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def probe(server: Server, files: Path, free_port: int) -> AsyncIterator[HttpsProbe]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(files / "server.pem")
    async with await asyncio.start_server(server.serve, "127.0.0.1", free_port, ssl=context):
        yield HttpsProbe("127.0.0.1", free_port, files / "ca.crt", files / "client.pem")


async def test_200_is_a_yes(probe: HttpsProbe, server: Server) -> None:
    assert await probe.listening(5)
    assert await probe.ready(5)
    assert await probe.live(5)
    assert server.requests == [b"GET /readyz HTTP/1.1", b"GET /livez HTTP/1.1"]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 no\r\n\r\n",
        b"HTTP/1.1 401 no\r\n\r\n",
        b"",
        b"nonsense\r\n",
        b"HTTP/1.1 x y\r\n",
        b"a" * 5000,
    ],
    ids=lambda answer: answer[:16].decode(),
)
async def test_anything_else_is_a_no(probe: HttpsProbe, server: Server, answer: bytes) -> None:
    server.answer = answer
    assert not await probe.ready(5)


async def test_silence_is_a_no_in_time(probe: HttpsProbe, server: Server) -> None:
    server.answer = None
    async with asyncio.timeout(3):
        assert not await probe.ready(0.1)


async def test_another_authority_is_a_no(probe: HttpsProbe, files: Path) -> None:
    (files / "ca.crt").write_bytes(pki.create_authority("a", now=datetime.now(UTC)).cert_pem)
    assert await probe.listening(5)
    assert not await probe.ready(5)


async def test_a_closed_port_and_missing_files_are_a_no(files: Path, free_port: int) -> None:
    probe = HttpsProbe("127.0.0.1", free_port, files / "ca.crt", files / "client.pem")
    assert not await probe.listening(1)
    assert not await probe.ready(1)
    (files / "client.pem").unlink()
    assert not await probe.live(1)
