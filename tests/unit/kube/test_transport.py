import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvloop

from outrider.kube.errors import TransportError
from outrider.kube.kubeconfig import ClusterAccess
from outrider.kube.transport import HttpTransport, Request, TokenSource
from tests.support.clock import settle
from tests.support.http_peer import Peer, PeerConnection, http_peer

Script = Callable[[PeerConnection], Awaitable[None]]


@asynccontextmanager
async def talking_to(
    script: Script, tmp_path: Path, access: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[tuple[HttpTransport, Peer]]:
    async with http_peer(script, tmp_path / "s") as (url, peer):
        transport = HttpTransport(ClusterAccess(server=url, **(access or {})), **options)
        try:
            yield transport, peer
        finally:
            await transport.close()


def get(path: str = "/version") -> Request:
    return Request(method="GET", path=path)


async def polite(connection: PeerConnection) -> None:
    """Answers every request with its own request line."""
    while True:
        line, _, body = await connection.read_request()
        await connection.answer(line.encode() + b"|" + body)


async def test_a_connection_is_used_again(tmp_path: Path) -> None:
    async with talking_to(polite, tmp_path) as (transport, peer):
        for _ in range(3):
            response = await transport.request(get(), timeout=5)
            assert (response.status, response.body) == (200, b"GET /version HTTP/1.1|")
        post = Request(method="POST", path="/x?y=1", body=b"{}")
        assert (await transport.request(post, timeout=5)).body == b"POST /x?y=1 HTTP/1.1|{}"
        assert len(peer.connections) == 1


async def test_connections_are_bounded(tmp_path: Path) -> None:
    busy = peak = 0

    async def slow(connection: PeerConnection) -> None:
        nonlocal busy, peak
        while True:
            await connection.read_request()
            busy += 1
            peak = max(peak, busy)
            await asyncio.sleep(0.005)
            busy -= 1
            await connection.answer(b"ok")

    async with talking_to(slow, tmp_path, max_connections=3) as (transport, peer):
        await asyncio.gather(*(transport.request(get(), timeout=5) for _ in range(20)))
        assert peak == 3
        assert len(peer.connections) == 3


async def test_an_idle_connection_is_closed(tmp_path: Path) -> None:
    closed = asyncio.Event()

    async def script(connection: PeerConnection) -> None:
        await connection.read_request()
        await connection.answer(b"ok")
        if await connection.closed_by_client():
            closed.set()

    async with talking_to(script, tmp_path, idle_timeout=0.02) as (transport, peer):
        await transport.request(get(), timeout=5)
        await asyncio.wait_for(closed.wait(), 2)
        await transport.request(get(), timeout=5)
        assert len(peer.connections) == 2


def closes_after_first(reset: bool) -> Script:
    """On the first connection, answers once and drops the second request."""

    async def script(connection: PeerConnection) -> None:
        await connection.read_request()
        await connection.answer(b"ok")
        if connection.number > 0:
            return await polite(connection)
        await connection.read_request()
        if reset:
            connection.reset()

    return script


@pytest.mark.parametrize("reset", [True, False])
async def test_a_stale_connection_is_replaced_once(tmp_path: Path, reset: bool) -> None:
    async with talking_to(closes_after_first(reset), tmp_path) as (transport, peer):
        await transport.request(get(), timeout=5)
        assert (await transport.request(get(), timeout=5)).body == b"ok"
        assert len(peer.connections) == 2


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_what_may_have_been_done_is_not_sent_twice(tmp_path: Path, method: str) -> None:
    async with talking_to(closes_after_first(reset=True), tmp_path) as (transport, peer):
        await transport.request(get(), timeout=5)
        with pytest.raises(TransportError, match=f"{method} /x"):
            await transport.request(Request(method=method, path="/x", body=b"{}"), timeout=5)
        assert len(peer.connections) == 1


async def test_a_new_connection_that_breaks_is_not_tried_again(tmp_path: Path) -> None:
    async def rude(connection: PeerConnection) -> None:
        await connection.read_request()

    async with talking_to(rude, tmp_path) as (transport, peer):
        with pytest.raises(TransportError, match="closed the connection"):
            await transport.request(get(), timeout=5)
        assert len(peer.connections) == 1


async def test_an_answer_cut_short_is_not_tried_again(tmp_path: Path) -> None:
    async def cut_short(connection: PeerConnection) -> None:
        await connection.read_request()
        await connection.answer(b"ok")
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    async with talking_to(cut_short, tmp_path) as (transport, peer):
        await transport.request(get(), timeout=5)
        with pytest.raises(TransportError, match="GET /version"):
            await transport.request(get(), timeout=5)
        assert len(peer.connections) == 1


async def test_an_answer_that_has_begun_is_not_asked_for_again(tmp_path: Path) -> None:
    async def script(connection: PeerConnection) -> None:
        await connection.read_request()
        await connection.answer(b"ok")
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Le")

    async with talking_to(script, tmp_path) as (transport, peer):
        await transport.request(get(), timeout=5)
        with pytest.raises(TransportError, match="GET /version"):
            await transport.request(get(), timeout=5)
        assert len(peer.connections) == 1


async def test_time_out_closes_the_connection(tmp_path: Path) -> None:
    async def silent(connection: PeerConnection) -> None:
        await connection.read_request()
        assert await connection.closed_by_client()

    async with talking_to(silent, tmp_path) as (transport, _):
        with pytest.raises(TransportError, match=r"no answer .* within 0\.05 s"):
            await transport.request(get(), timeout=0.05)
        await settle()


async def test_cancelling_closes_the_connection(tmp_path: Path) -> None:
    closed = asyncio.Event()

    async def silent(connection: PeerConnection) -> None:
        await connection.read_request()
        if await connection.closed_by_client():
            closed.set()

    async with talking_to(silent, tmp_path) as (transport, _):
        task = asyncio.create_task(transport.request(get(), timeout=5))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(closed.wait(), 2)


async def test_a_chunked_answer_and_interim_heads(tmp_path: Path) -> None:
    async def script(connection: PeerConnection) -> None:
        while True:
            await connection.read_request()
            await connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
            await connection.send(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\nx-a: 2\r\n\r\n"
            )
            for piece in (b"3\r\nabc\r\n", b"2\r\nde\r\n", b"0\r\nTrailer: t\r\n\r\n"):
                await connection.send(piece)

    async with talking_to(script, tmp_path) as (transport, peer):
        for _ in range(2):
            response = await transport.request(get(), timeout=5)
            assert (response.status, response.body) == (200, b"abcde")
            assert response.headers["x-a"] == "1, 2"
            assert "link" not in response.headers
        assert len(peer.connections) == 1


async def test_a_body_that_ends_with_the_connection(tmp_path: Path) -> None:
    async def script(connection: PeerConnection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it")
        connection.close()

    async with talking_to(script, tmp_path) as (transport, _):
        assert (await transport.request(get(), timeout=5)).body == b"all of it"


async def test_head_has_no_body(tmp_path: Path) -> None:
    async def script(connection: PeerConnection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        await connection.closed_by_client()

    async with talking_to(script, tmp_path) as (transport, _):
        response = await transport.request(Request(method="HEAD", path="/x"), timeout=5)
        assert (response.headers["content-length"], response.body) == ("1000", b"")


async def test_no_content(tmp_path: Path) -> None:
    async def script(connection: PeerConnection) -> None:
        while True:
            await connection.read_request()
            await connection.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with talking_to(script, tmp_path) as (transport, peer):
        for _ in range(2):
            assert (await transport.request(get(), timeout=5)).body == b""
        assert len(peer.connections) == 1


async def test_an_answer_is_bounded(tmp_path: Path) -> None:
    async def script(connection: PeerConnection) -> None:
        await connection.read_request()
        await connection.answer(b"x" * 100_000)

    async with talking_to(script, tmp_path, max_response=50_000) as (transport, _):
        with pytest.raises(TransportError, match="larger than 50000 bytes"):
            await transport.request(get(), timeout=5)


async def test_a_head_is_bounded(tmp_path: Path) -> None:
    async def script(connection: PeerConnection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\n")
        for _ in range(1000):
            await connection.send(b"X: " + b"y" * 1000 + b"\r\n")

    async with talking_to(script, tmp_path) as (transport, _):
        with pytest.raises(TransportError, match="head is larger"):
            await transport.request(get(), timeout=5)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ],
)
async def test_nonsense_is_an_error(tmp_path: Path, answer: bytes) -> None:
    async def script(connection: PeerConnection) -> None:
        await connection.read_request()
        await connection.send(answer)
        await connection.closed_by_client()

    async with talking_to(script, tmp_path) as (transport, _):
        with pytest.raises(TransportError):
            await transport.request(get(), timeout=2)


async def test_an_answer_nobody_asked_for_is_not_taken_for_the_next(tmp_path: Path) -> None:
    """A server that sends a second answer must not have it read as the answer to the next request."""

    async def script(connection: PeerConnection) -> None:
        await connection.read_request()
        await connection.answer(b"first")
        await asyncio.sleep(0)
        await connection.answer(b"poison")
        await connection.read_request()
        await connection.answer(b"second")

    async with talking_to(script, tmp_path) as (transport, _):
        assert (await transport.request(get(), timeout=2)).body == b"first"
        await asyncio.sleep(0.02)
        assert (await transport.request(get(), timeout=2)).body == b"first"


async def test_two_answers_in_one_packet(tmp_path: Path) -> None:
    async def script(connection: PeerConnection) -> None:
        await connection.read_request()
        one = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-N: 1\r\n\r\nok"
        await connection.send(one + b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nX-N: 2\r\n\r\nno")
        await connection.closed_by_client()

    async with talking_to(script, tmp_path) as (transport, peer):
        for _ in range(2):
            response = await transport.request(get(), timeout=2)
            assert (response.status, response.body, response.headers["x-n"]) == (200, b"ok", "1")
        assert len(peer.connections) == 2


# Streams


async def test_a_stream_hands_out_chunks_as_they_come(tmp_path: Path) -> None:
    go = asyncio.Event()

    async def script(connection: PeerConnection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await go.wait()
        await connection.send(b"3\r\ntwo\r\n0\r\n\r\n")
        await polite(connection)

    async with talking_to(script, tmp_path) as (transport, peer):
        chunks = []
        async with transport.stream(get(), timeout=5) as response:
            assert response.status == 200
            async for chunk in response:
                chunks.append(chunk)
                go.set()
        assert chunks == [b"one", b"two"]
        await transport.request(get(), timeout=5)
        assert len(peer.connections) == 1


async def test_leaving_a_stream_early_closes_its_connection(tmp_path: Path) -> None:
    closed = asyncio.Event()

    async def script(connection: PeerConnection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        if await connection.closed_by_client():
            closed.set()

    async with talking_to(script, tmp_path) as (transport, _):
        async with transport.stream(get(), timeout=5) as response:
            async for _chunk in response:
                break
        await asyncio.wait_for(closed.wait(), 2)


async def read_all(transport: HttpTransport, timeout: float) -> bytes:
    body = b""
    async with transport.stream(get(), timeout=timeout) as response:
        async for chunk in response:
            body += chunk
    return body


async def test_a_stream_that_falls_silent_or_breaks(tmp_path: Path) -> None:
    async def script(connection: PeerConnection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        if connection.number == 0:
            await connection.closed_by_client()
        connection.reset()

    async with talking_to(script, tmp_path) as (transport, _):
        with pytest.raises(TransportError, match=r"nothing more came within 0\.05 s"):
            await read_all(transport, 0.05)
        with pytest.raises(TransportError, match=r"lost|closed"):
            await read_all(transport, 5)


async def test_streams_do_not_use_up_the_connections_of_requests(tmp_path: Path) -> None:
    async def script(connection: PeerConnection) -> None:
        line, _, _ = await connection.read_request()
        if "watch" not in line:
            await connection.answer(b"ok")
            return
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await connection.closed_by_client()

    async with (
        talking_to(script, tmp_path, max_connections=1, max_streams=1) as (transport, _),
        transport.stream(get("/watch"), timeout=5),
    ):
        assert (await transport.request(get(), timeout=1)).body == b"ok"
        with pytest.raises(TransportError, match="no answer"):
            async with transport.stream(get("/watch"), timeout=0.05):
                raise AssertionError("there was room for a second stream")


async def test_a_slow_reader_stops_the_server_and_not_memory(tmp_path: Path) -> None:
    sent = 0

    async def script(connection: PeerConnection) -> None:
        nonlocal sent
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n")
        for _ in range(1024):
            await connection.send(b"x" * 65536)
            sent += 65536

    async with talking_to(script, tmp_path) as (transport, _):
        async with transport.stream(get(), timeout=5) as response:
            await asyncio.sleep(0.2)
            assert sent < 8 << 20
            size = 0
            async for chunk in response:
                size += len(chunk)
        assert size == 64 << 20


# Heads and credentials


@pytest.mark.parametrize(
    "request_",
    [
        Request(method="GET", path="/x HTTP/1.1\r\nX: y"),
        Request(method="GET", path="/x y"),
        Request(method="GET", path="/", headers=[("X", "a\r\nB: c")]),
        Request(method="GET", path="/", headers=[("X\r\nY", "a")]),
        Request(method="GET", path="/", headers=[("X", "a\0")]),
        Request(method="GET", path="/", headers=[("Content-Length", "5")]),
        Request(method="GET", path="/", headers=[("transfer-encoding", "chunked")]),
    ],
)
async def test_a_head_cannot_be_split(tmp_path: Path, request_: Request) -> None:
    async with talking_to(polite, tmp_path) as (transport, peer):
        with pytest.raises(ValueError, match=r"head|set by the transport"):
            await transport.request(request_, timeout=1)
        assert peer.connections == []


async def test_a_token_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    seen: list[str] = []

    async def script(connection: PeerConnection) -> None:
        while True:
            _, headers, _ = await connection.read_request()
            seen.append(headers.get("authorization", ""))
            await connection.answer(b"")

    token = tmp_path / "token"
    token.write_text("one\n")
    async with talking_to(script, tmp_path, {"token_file": token, "token": "ignored"}) as (transport, _):
        await transport.request(get(), timeout=5)
        # Kubernetes swaps the file by renaming a new one into place.
        (tmp_path / "new").write_text("two")
        os.replace(tmp_path / "new", token)
        await transport.request(get(), timeout=5)
        token.unlink()
        with pytest.raises(TransportError, match="cannot read the token file"):
            await transport.request(get(), timeout=5)
    assert seen == ["Bearer one", "Bearer two"]


async def test_non_ascii_header_values_travel_as_utf8(tmp_path: Path) -> None:
    seen: list[str] = []

    async def script(connection: PeerConnection) -> None:
        _, headers, _ = await connection.read_request()
        seen.append(headers["impersonate-user"])
        await connection.answer(b"")

    async with talking_to(script, tmp_path) as (transport, _):
        request = Request(method="GET", path="/", headers=[("Impersonate-User", "Zoë")])
        await transport.request(request, timeout=5)
    assert seen == ["Zoë"]


def test_a_token_alone() -> None:
    assert TokenSource(ClusterAccess(server="https://k8s", token="t")).read() == "t"
    assert TokenSource(ClusterAccess(server="https://k8s")).read() == ""


# Reaching the server


async def test_nobody_listens(tmp_path: Path, free_port: int) -> None:
    for server in (f"unix:{tmp_path}/absent", f"https://127.0.0.1:{free_port}"):
        transport = HttpTransport(ClusterAccess(server=server))
        with pytest.raises(TransportError, match="cannot connect"):
            await transport.request(get(), timeout=5)
        await transport.close()


async def test_a_closed_transport_refuses(tmp_path: Path) -> None:
    async with talking_to(polite, tmp_path) as (transport, _):
        await transport.request(get(), timeout=5)
        await transport.close()
        with pytest.raises(TransportError, match="closed"):
            await transport.request(get(), timeout=5)


@pytest.mark.parametrize("server", ["", "k8s:6443", "ftp://k8s", "https://"])
def test_an_address_of_another_kind(server: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        HttpTransport(ClusterAccess(server=server))


@pytest.mark.parametrize(
    ("access", "message"),
    [
        ({"ca_pem": b"not pem"}, "authority for https://k8s is not PEM"),
        ({"client_cert_pem": b"c", "client_key_pem": b"k3y"}, "client certificate or key"),
    ],
)
def test_unusable_certificates(access: dict[str, bytes], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        HttpTransport(ClusterAccess(server="https://k8s", **access))  # type: ignore[arg-type]
    assert "k3y" not in str(caught.value)


# The servers' own event loop


@pytest.mark.parametrize(
    "scenario",
    [
        test_a_connection_is_used_again,
        test_an_idle_connection_is_closed,
        test_time_out_closes_the_connection,
        test_cancelling_closes_the_connection,
        test_a_chunked_answer_and_interim_heads,
        test_a_body_that_ends_with_the_connection,
        test_two_answers_in_one_packet,
        test_a_stream_hands_out_chunks_as_they_come,
        test_leaving_a_stream_early_closes_its_connection,
        test_a_stream_that_falls_silent_or_breaks,
        test_a_slow_reader_stops_the_server_and_not_memory,
        partial(test_a_stale_connection_is_replaced_once, reset=True),
        partial(test_a_stale_connection_is_replaced_once, reset=False),
    ],
)
def test_it_works_on_uvloop_too(
    scenario: Callable[[Path], Coroutine[Any, Any, None]], tmp_path: Path
) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario(tmp_path))
