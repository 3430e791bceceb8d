"""Connections that switch to another protocol."""

import pytest

from tests.support.wire import Wire
from tests.unit.gateway.desk import C1, TOKEN, Desk, body, get, header, status, turn

WEBSOCKET = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: x")
SPDY = (b"connection: keep-alive, Upgrade", b"upgrade: SPDY/3.1", b"X-Stream-Protocol-Version: v4")


@pytest.fixture
async def desk() -> Desk:
    return Desk()


def switched(desk: Desk, client: Wire) -> None:
    client.feed(get(C1 + b"/exec", *SPDY, method=b"POST"))
    desk.cluster.last.responder.on_head(101, -1, b"X-Stream-Protocol-Version: v4\r\n", b"", False)


@pytest.mark.parametrize("lines", [WEBSOCKET, SPDY])
async def test_raw_bytes_go_both_ways(desk: Desk, lines: tuple[bytes, ...]) -> None:
    client = desk.client()
    client.feed(get(C1 + b"/exec?command=ls", *lines))
    call = desk.cluster.last
    assert call.request.upgrade == lines[1].partition(b": ")[2]
    assert not {b"upgrade", b"connection"} & call.names
    call.responder.on_head(101, -1, b"Sec-WebSocket-Accept: y\r\n", b"greeting", False)
    answer = client.take()
    assert status(answer) == 101
    assert header(answer, b"upgrade") == call.request.upgrade
    assert header(answer, b"connection") == b"Upgrade"
    assert body(answer) == b"greeting"  # came with the head
    client.feed(b"\x00in")
    call.responder.on_data(b"GET / HTTP/1.1\r\n\r\n")
    assert bytes(call.body) == b"\x00in"
    assert client.take() == b"GET / HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize("size", [0, 1, 5])
async def test_what_is_said_too_early_waits(desk: Desk, size: int) -> None:
    client = desk.client()
    client.feed(get(C1 + b"/exec", *WEBSOCKET) + b"\x81\x05GET / HTTP/1.1\r\n\r\n", size)
    call = desk.cluster.last
    assert len(desk.cluster.calls) == 1
    assert not call.body
    call.responder.on_head(101, -1, b"", b"", False)
    assert bytes(call.body) == b"\x81\x05GET / HTTP/1.1\r\n\r\n"


async def test_a_refused_switch_is_an_answer_and_the_end(desk: Desk) -> None:
    client = desk.client()
    client.feed(get(C1 + b"/exec", *WEBSOCKET) + get(C1 + b"/smuggled", method=b"DELETE"))
    desk.cluster.last.answer(b"no", 403)
    answer = client.take()
    assert (status(answer), body(answer), header(answer, b"connection")) == (403, b"no", b"close")
    await turn()
    assert client.closed
    assert len(desk.cluster.calls) == 1
    assert not desk.cluster.last.body


async def test_our_own_refusal(desk: Desk) -> None:
    client = desk.client()
    client.feed(get(b"/k8s/clusters/c-9/exec", *WEBSOCKET) + get(C1 + b"/x", method=b"DELETE"))
    assert status(client.take()) == 503
    assert client.closed
    assert not desk.cluster.calls


async def test_the_clients_end_reaches_the_backend(desk: Desk) -> None:
    client = desk.client()
    switched(desk, client)
    client.feed(b"last words")
    client.vanish(politely=True)
    call = desk.cluster.last
    assert (bytes(call.body), call.finished) == (b"last words", 1)
    assert call.resets == 0  # what was said is still on its way
    call.responder.on_data(b"late")
    call.responder.on_end(b"")
    assert len(desk.ledger.finished) == 1


async def test_a_client_that_breaks_off_resets(desk: Desk) -> None:
    client = desk.client()
    switched(desk, client)
    client.vanish()
    assert (desk.cluster.last.finished, desk.cluster.last.resets) == (0, 1)


async def test_the_backends_end_reaches_the_client(desk: Desk) -> None:
    client = desk.client()
    switched(desk, client)
    desk.cluster.last.responder.on_data(b"bye")
    desk.cluster.last.responder.on_end(b"")
    assert client.take().endswith(b"bye")
    assert client.closed
    assert not client.aborted
    await turn()
    assert (desk.cluster.last.resets, len(desk.ledger.finished)) == (0, 1)


async def test_a_backend_that_breaks_off_breaks_off(desk: Desk) -> None:
    client = desk.client()
    switched(desk, client)
    desk.cluster.last.responder.on_reset("tunnel disconnect")
    assert client.aborted


async def test_pressure_goes_both_ways(desk: Desk) -> None:
    client = desk.client()
    client.eager = False
    switched(desk, client)
    call = desk.cluster.last
    call.responder.on_data(b"x" * 300_000)
    assert call.paused
    client.drain()
    assert not call.paused
    call.responder.pause_sending()
    assert not client.reading
    call.responder.resume_sending()
    assert client.reading


@pytest.mark.parametrize(
    "lines",
    [
        (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
        (b"Connection: Upgrade", b"Upgrade: websocket, h2c"),
        (b"Connection: Upgrade", b"Upgrade: TLS/1.0"),
        (b"Upgrade: websocket",),
        (b"Connection: upgrade",),
    ],
)
async def test_other_upgrades_are_plain_requests(desk: Desk, lines: tuple[bytes, ...]) -> None:
    client = desk.client()
    client.feed(get(C1 + b"/a", *lines) + get(C1 + b"/b"))
    first = desk.cluster.last
    assert first.request.upgrade == b""
    assert not {b"upgrade", b"http2-settings", b"connection"} & first.names
    first.answer(b"one")
    assert desk.cluster.last.target == b"/b"
    desk.cluster.last.answer(b"two")
    assert client.take().endswith(b"two")


async def test_an_upgrade_behind_another_request(desk: Desk) -> None:
    client = desk.client()
    client.feed(get(C1 + b"/a") + get(C1 + b"/exec", *WEBSOCKET))
    client.feed(b"early")
    desk.cluster.last.answer(b"one")
    call = desk.cluster.last
    assert call.target == b"/exec"
    call.responder.on_head(101, -1, b"", b"", False)
    assert bytes(call.body) == b"early"


async def test_http_1_0_does_not_switch(desk: Desk) -> None:
    client = desk.client()
    client.feed(
        b"GET /k8s/clusters/c-1/x HTTP/1.0\r\nAuthorization: " + TOKEN + b"\r\nConnection: upgrade\r\n"
        b"Upgrade: websocket\r\n\r\n"
    )
    assert desk.cluster.last.request.upgrade == b""


class TestCookies:
    COOKIE = b"Cookie: a=b; R_SESS=token-abc:secret; CSRF=1234"

    async def test_a_foreign_page_may_not_open_a_websocket(self, desk: Desk) -> None:
        for origin in (
            b"https://evil.test",
            b"https://outrider.test.evil.test",
            b"null",
            b"https://outrider.test:444",
        ):
            client = desk.client()
            client.feed(get(C1 + b"/exec", self.COOKIE, b"Origin: " + origin, *WEBSOCKET, token=b""))
            assert status(client.take()) == 403
        assert not desk.cluster.calls
        assert not desk.asked

    async def test_nor_one_that_does_not_say_where_it_is_from(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get(C1 + b"/exec", self.COOKIE, *WEBSOCKET, token=b""))
        assert status(client.take()) == 403

    async def test_our_own_page_may(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get(C1 + b"/exec", self.COOKIE, b"Origin: https://outrider.test", *WEBSOCKET, token=b""))
        assert desk.asked[-1].credential == "Bearer token-abc:secret"
        assert desk.cluster.last.request.upgrade == b"websocket"
        assert b"cookie" not in desk.cluster.last.names

    async def test_a_token_needs_no_origin(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get(C1 + b"/exec", b"Origin: https://evil.test", *WEBSOCKET))
        assert len(desk.cluster.calls) == 1

    @pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH", b"DELETE"])
    @pytest.mark.parametrize("sent", [b"X-Nothing: 1", b"X-API-CSRF: wrong", b"X-API-CSRF: "])
    async def test_a_change_needs_the_anti_forgery_token(
        self, desk: Desk, method: bytes, sent: bytes
    ) -> None:
        client = desk.client()
        client.feed(get(C1 + b"/x", self.COOKIE, sent, method=method, token=b""))
        assert status(client.take()) == 422
        assert not desk.cluster.calls

    @pytest.mark.parametrize(
        ("method", "sent"), [(b"DELETE", b"X-API-CSRF: 1234"), (b"GET", b"X-Nothing: 1")]
    )
    async def test_with_it_or_without_a_change(self, desk: Desk, method: bytes, sent: bytes) -> None:
        client = desk.client()
        client.feed(get(C1 + b"/x", self.COOKIE, sent, method=method, token=b""))
        assert len(desk.cluster.calls) == 1

    async def test_a_header_wins_over_a_cookie(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get(C1 + b"/x", self.COOKIE, method=b"DELETE"))
        assert desk.asked[-1].credential == TOKEN.decode()
        assert len(desk.cluster.calls) == 1
