from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from outrider.agent.errors import FetchError, TrustError
from outrider.agent.fetch import fetch
from outrider.agent.trust import Trust, checksum, client_context, unverified_context
from outrider.kit import pki
from outrider.kit.tasks import cancel_and_wait

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def authority() -> pki.Credential:
    return pki.create_authority("test CA", now=NOW)


def server_context(authority: pki.Credential, folder: Path) -> ssl.SSLContext:
    leaf = pki.issue_server(authority, "server", now=NOW, dns=["localhost"], ips=["127.0.0.1"])
    file = folder / "server.pem"
    file.write_bytes(leaf.cert_pem + leaf.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


Answer = Callable[[], bytes]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on loopback whose connections are gone when the block ends; yields its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        try:
            await handler(reader, writer)
            await writer.drain()
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]
    await cancel_and_wait(*tasks)
    await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(answer: Answer, context: ssl.SSLContext) -> AsyncIterator[str]:
    """An HTTPS server that answers everything with `answer()`; yields its origin."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with listening(serve, context) as port:
        yield f"https://127.0.0.1:{port}"


def http(body: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


def setting(pem: bytes | str) -> Answer:
    value = pem.decode() if isinstance(pem, bytes) else pem
    return lambda: http(msgspec.json.encode({"id": "cacerts", "value": value}))


def pin(pem: bytes) -> str:
    return hashlib.sha256(pem.strip() + b"\n").hexdigest()


@pytest.mark.parametrize("end", ["", "\n", "\n\n\n"])
def test_the_checksum_counts_exactly_one_newline(end: str) -> None:
    assert checksum("PEM" + end) == hashlib.sha256(b"PEM\n").hexdigest()


async def test_the_pinned_authority_is_believed(authority: pki.Credential, tmp_path: Path) -> None:
    async with serving(setting(authority.cert_pem), server_context(authority, tmp_path)) as origin:
        trust = Trust(origin, expected=pin(authority.cert_pem), strict=True)
        context = await trust.establish()
        assert await trust.would_be_strict()
        assert len(context.get_ca_certs()) == 1
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert (await fetch(origin + "/ping", context)).status == 200


async def test_another_authority_is_refused(authority: pki.Credential, tmp_path: Path) -> None:
    other = pki.create_authority("other", now=NOW)
    async with serving(setting(other.cert_pem), server_context(other, tmp_path)) as origin:
        trust = Trust(origin, expected=pin(authority.cert_pem), strict=True)
        with pytest.raises(TrustError, match="CATTLE_CA_CHECKSUM"):
            await trust.establish()


async def test_a_rotated_authority_is_refused_at_the_next_dial(
    authority: pki.Credential, tmp_path: Path
) -> None:
    shown = [authority.cert_pem]
    rotated = pki.create_authority("rotated", now=NOW)

    def answer() -> bytes:
        return setting(shown[0])()

    async with serving(answer, server_context(authority, tmp_path)) as origin:
        trust = Trust(origin, expected=pin(authority.cert_pem))
        await trust.establish()
        shown[0] = rotated.cert_pem
        with pytest.raises(TrustError):
            await trust.establish()


async def test_a_server_that_shows_the_right_ca_without_holding_it_is_not_believed(
    authority: pki.Credential, tmp_path: Path
) -> None:
    impostor = pki.create_authority("impostor", now=NOW)
    async with serving(setting(authority.cert_pem), server_context(impostor, tmp_path)) as origin:
        context = await Trust(origin, expected=pin(authority.cert_pem), strict=True).establish()
        with pytest.raises(FetchError, match="not trusted"):
            await fetch(origin + "/ping", context)
        assert await Trust(origin, expected=pin(authority.cert_pem)).would_be_strict() is False


async def test_without_a_checksum_the_system_decides(authority: pki.Credential, tmp_path: Path) -> None:
    async with serving(setting(authority.cert_pem), server_context(authority, tmp_path)) as origin:
        trust = Trust(origin)
        assert await trust.would_be_strict() is None
        with pytest.raises(FetchError, match="not trusted"):
            await fetch(origin, await trust.establish())


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (setting(""), TrustError),
        (lambda: http(b"not json"), FetchError),
        (lambda: http(b"[1]"), FetchError),
        (lambda: http(b"[" * 100_000), FetchError),
        (lambda: http(b"", "404 Not Found"), FetchError),
        (lambda: http(b"", "302 Found\r\nLocation: https://evil.example"), FetchError),
        (lambda: b"SSH-2.0-OpenSSH\r\n\r\n", FetchError),
        (lambda: b"", FetchError),
        (lambda: http(b"x" * (2 << 20)), FetchError),
    ],
)
async def test_a_server_that_makes_no_sense_is_refused(
    authority: pki.Credential, tmp_path: Path, answer: Answer, error: type[Exception]
) -> None:
    async with serving(answer, server_context(authority, tmp_path)) as origin:
        with pytest.raises(error):
            await Trust(origin, expected="ab" * 32).establish()


async def test_a_pinned_text_that_is_no_certificate_is_refused(
    authority: pki.Credential, tmp_path: Path
) -> None:
    async with serving(setting("nonsense"), server_context(authority, tmp_path)) as origin:
        with pytest.raises(TrustError, match="PEM"):
            await Trust(origin, expected=pin(b"nonsense")).establish()


async def test_a_silent_server_times_out() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(hang) as port:
        with pytest.raises(FetchError, match="within"):
            await fetch(f"https://127.0.0.1:{port}/", unverified_context(), timeout=0.2)


async def test_an_unreachable_server_is_named(free_port: int) -> None:
    with pytest.raises(FetchError, match=str(free_port)):
        await fetch(f"https://127.0.0.1:{free_port}/", unverified_context())


@asynccontextmanager
async def proxying(refuse: bool = False) -> AsyncIterator[tuple[str, list[bytes]]]:
    """An HTTP proxy that knows CONNECT; yields its address and the heads that it got."""
    heads: list[bytes] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head)
        if refuse:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            return
        host, port = head.split(b" ")[1].decode().split(":")
        there, back = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(pump(reader, back), pump(there, writer))
        finally:
            back.transport.abort()

    async with listening(serve) as port:
        yield f"127.0.0.1:{port}", heads


async def test_the_check_goes_through_a_proxy(authority: pki.Credential, tmp_path: Path) -> None:
    async with (
        proxying() as (proxy, heads),
        serving(setting(authority.cert_pem), server_context(authority, tmp_path)) as origin,
    ):
        trust = Trust(origin, expected=pin(authority.cert_pem), proxy=f"http://me:p%40ss@{proxy}")
        await trust.establish()
        assert heads[0].startswith(b"CONNECT 127.0.0.1:")
        assert b"Proxy-Authorization: Basic bWU6cEBzcw==" in heads[0]


async def test_a_proxy_that_refuses_is_named() -> None:
    async with proxying(refuse=True) as (proxy, _):
        with pytest.raises(FetchError, match="407"):
            await fetch("https://a.example/", unverified_context(), proxy=f"http://{proxy}")


def test_old_protocols_are_off() -> None:
    assert client_context("", system=True).minimum_version is ssl.TLSVersion.TLSv1_2
