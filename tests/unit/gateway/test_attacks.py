"""What hostile clients send, each beside something alike that is served."""

import asyncio

import httptools
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outrider.gateway import connection as module
from outrider.gateway import heads, listener
from outrider.kit import http1
from tests.support.wire import Call
from tests.unit.gateway.desk import C1, TOKEN, Desk, body, get, header, status, turn


@pytest.fixture
async def desk() -> Desk:
    return Desk()


def nothing_ran(desk: Desk) -> bool:
    return not any(backend.calls for backend in desk.backends)


START = b"POST /k8s/clusters/c-1/x HTTP/1.1\r\nHost: outrider.test\r\nAuthorization: " + TOKEN + b"\r\n"
SMUGGLED = b"DELETE /k8s/clusters/c-1/smuggled HTTP/1.1\r\nHost: a\r\nAuthorization: " + TOKEN + b"\r\n\r\n"


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", id="CL+TE"),
        pytest.param(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", id="TE+CL"),
        pytest.param(b"Content-Length: 5\r\nContent-Length: 6\r\n", id="two lengths"),
        pytest.param(b"Content-Length: 5\r\nContent-Length: 5\r\n", id="the same length twice"),
        pytest.param(b"Content-Length: 5, 5\r\n", id="list of lengths"),
        pytest.param(b"Content-Length: +5\r\n", id="signed length"),
        pytest.param(b"Content-Length: -5\r\n", id="negative length"),
        pytest.param(b"Content-Length: 0x5\r\n", id="hexadecimal length"),
        pytest.param(b"Content-Length: 5 5\r\n", id="space in the length"),
        pytest.param(b"Content-Length: \r\n", id="empty length"),
        pytest.param(b"Content-Length: 99999999999999999999999\r\n", id="huge length"),
        pytest.param(b"Content-Length : 5\r\n", id="space before the colon"),
        pytest.param(b"Transfer-Encoding: xchunked\r\n", id="TE unknown"),
        pytest.param(b"Transfer-Encoding: gzip, chunked\r\n", id="TE list"),
        pytest.param(b"Transfer-Encoding: chunked, identity\r\n", id="TE chunked not last"),
        pytest.param(b"Transfer-Encoding: identity\r\n", id="TE identity"),
        pytest.param(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", id="TE twice"),
        pytest.param(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", id="TE twice, unlike"),
        pytest.param(b'Transfer-Encoding: "chunked"\r\n', id="TE quoted"),
        pytest.param(b"Transfer-Encoding: \x0bchunked\r\n", id="TE after vertical tab"),
        pytest.param(b"Transfer-Encoding: chunked;q=1\r\n", id="TE with parameter"),
        pytest.param(b"Transfer-Encoding\r\n : chunked\r\n", id="TE name folded"),
        pytest.param(b"Transfer-Encoding:\r\n chunked\r\n", id="TE folded"),
        pytest.param(b"X: y\r\n folded\r\n", id="obs-fold"),
        pytest.param(b" X: y\r\n", id="space before a name"),
        pytest.param(b"X\r\n", id="no colon"),
        pytest.param(b": y\r\n", id="no name"),
        pytest.param(b"X: a\nY: b\r\n", id="bare LF"),
        pytest.param(b"X: a\rY: b\r\n", id="bare CR"),
        pytest.param(b"X: a\x00b\r\n", id="NUL"),
        pytest.param(b"X: a\x08b\r\n", id="control character"),
        pytest.param(b"X: a\x7fb\r\n", id="DEL"),
        pytest.param(b"X\x00: a\r\n", id="NUL in a name"),
        pytest.param("Ẋ: a\r\n".encode(), id="name not ASCII"),
        pytest.param(b"Host: other\r\n", id="two hosts"),
        pytest.param(b"Host: outrider.test\r\n", id="the same host twice"),
        pytest.param(b"Authorization: Bearer other\r\n", id="two credentials"),
        pytest.param(b"Content-Length: 5\r\nConnection: upgrade\r\nUpgrade: h2c\r\n", id="upgrade, body"),
        pytest.param(
            b"Content-Length: 5\r\nConnection: upgrade\r\nUpgrade: websocket\r\n", id="WebSocket, body"
        ),
        pytest.param(
            b"Transfer-Encoding: chunked\r\nConnection: upgrade\r\nUpgrade: h2c\r\n", id="upgrade, chunks"
        ),
    ],
)
async def test_ambiguous_heads_reach_nobody(desk: Desk, lines: bytes) -> None:
    client = desk.client(linger=0.01)
    client.feed(START + lines + b"\r\n" + b"0\r\n\r\n" + SMUGGLED)
    await asyncio.sleep(0.03)
    answer = client.take()
    assert answer.count(b"HTTP/1.1 4") == 1
    assert 400 <= status(answer) < 500
    assert header(answer, b"connection") == b"close"
    assert header(answer, b"x-content-type-options") == b"nosniff"
    assert nothing_ran(desk)
    assert client.closed


@pytest.mark.parametrize(
    "lines", [b"Content-Length: 5\r\n", b"Transfer-Encoding: Chunked\r\n", b"X: a\tb \xff\r\n", b"X:\r\n"]
)
async def test_plain_heads_are_served(desk: Desk, lines: bytes) -> None:
    client = desk.client()
    client.feed(START + lines + b"\r\n")
    assert len(desk.cluster.calls) == 1


@pytest.mark.parametrize(
    "chunk",
    [
        b"z\r\nhello\r\n",
        b"-5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"5\nhello\r\n",
        b"5\r\nhelloX\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"\r\nhello\r\n",
        b"5;a=\x00\r\nhello\r\n",
        b"fffffffffffffffff\r\nhello\r\n",
        b"5\r\nhello\r\n0\r\nX: a\nGET / HTTP/1.1\r\n\r\n",
    ],
)
async def test_bad_chunks_end_the_request_and_the_connection(desk: Desk, chunk: bytes) -> None:
    client = desk.client(linger=0.01)
    client.feed(START + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n" + SMUGGLED)
    await asyncio.sleep(0.03)
    (call,) = desk.cluster.calls
    assert (call.resets, call.finished) == (1, 0)
    assert status(client.take()) == 400
    assert client.closed


async def test_a_bad_body_behind_a_running_request_waits_for_its_turn(desk: Desk) -> None:
    client = desk.client(linger=0.01)
    client.feed(get(C1 + b"/good") + START + b"Transfer-Encoding: chunked\r\n\r\nzzz" + SMUGGLED)
    assert len(desk.cluster.calls) == 1
    desk.cluster.last.answer(b"fine")
    await asyncio.sleep(0.03)
    answer = client.take()
    assert b"fine" in answer
    assert b"HTTP/1.1 400 " in answer
    assert len(desk.cluster.calls) == 1
    assert client.closed


async def test_a_bad_request_behind_a_running_one_is_answered_after_it(desk: Desk) -> None:
    client = desk.client(linger=0.01)
    client.feed(get(C1 + b"/good") + b"NONSENSE\r\n\r\n")
    assert not client.take()
    desk.cluster.last.answer(b"fine")
    await asyncio.sleep(0.03)
    answer = client.take()
    assert answer.index(b"fine") < answer.index(b"HTTP/1.1 400 ")
    assert client.closed


async def test_a_bad_body_in_the_middle_of_the_answer(desk: Desk) -> None:
    client = desk.client()
    client.feed(START + b"Transfer-Encoding: chunked\r\n\r\n")
    desk.cluster.last.responder.on_head(200, -1, b"", b"half", False)
    client.feed(b"zzz\r\n")
    assert client.aborted
    assert desk.cluster.last.resets == 1
    await turn()
    assert len(desk.ledger.finished) == 1


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"GET http://outrider.test/k8s/clusters/c-1/x HTTP/1.1", 400),
        (b"GET https://other/k8s/clusters/c-1/x HTTP/1.1", 400),
        (b"GET //other/x#/k8s HTTP/1.1", 400),
        (b"GET k8s/clusters/c-1/x HTTP/1.1", 400),
        (b"GET * HTTP/1.1", 400),
        (b"OPTIONS * HTTP/1.1", 400),
        (b"CONNECT outrider.test:443 HTTP/1.1", 405),
        (b"PROPFIND /k8s/clusters/c-1/x HTTP/1.1", 405),
        (b"M-SEARCH /k8s/clusters/c-1/x HTTP/1.1", 405),
        (b"get /k8s/clusters/c-1/x HTTP/1.1", 400),
        (b"GET /k8s/clusters/c-1/x HTTP/2.0", 400),
        (b"GET /k8s/clusters/c-1/x HTTP/0.9", 400),
        (b"GET /k8s/clusters/c-1/x HTTP/1.2", 400),
        (b"GET /k8s/clusters/c-1/x", 400),
        (b"GET /k8s/clusters/c-1/x y HTTP/1.1", 400),
        (b"GET /k8s/clusters/c-1/x#fragment HTTP/1.1", 400),
        (b"GET /k8s/clusters/c-1/\xc3\xa4 HTTP/1.1", 400),
        (b"GET /k8s/clusters/c-1/\x7f HTTP/1.1", 400),
        (b"GET /k8s/clusters/c-1/\x00 HTTP/1.1", 400),
        (b"PRI * HTTP/2.0", 400),
    ],
)
async def test_request_lines(desk: Desk, line: bytes, code: int) -> None:
    client = desk.client(linger=0.01)
    client.feed(line + b"\r\nHost: outrider.test\r\nAuthorization: " + TOKEN + b"\r\n\r\n")
    await asyncio.sleep(0.03)
    assert status(client.take()) in {400, code}
    assert nothing_ran(desk)
    assert client.closed


async def test_the_preface_of_http_2(desk: Desk) -> None:
    client = desk.client(linger=0.01)
    client.feed(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
    await asyncio.sleep(0.03)
    assert client.closed
    assert nothing_ran(desk)


async def test_a_host_is_needed(desk: Desk) -> None:
    client = desk.client()
    client.feed(b"GET /ping HTTP/1.1\r\n\r\n")
    assert status(client.take()) == 400


@pytest.mark.parametrize("host", [b"", b"a b", b"a/b", b"a@b", b"a\\b", b"<x>", b"a,b", b"a?b", b"\xff"])
async def test_hosts_that_are_none(desk: Desk, host: bytes) -> None:
    client = desk.client()
    client.feed(b"GET /ping HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    assert status(client.take()) == 400


@pytest.mark.parametrize("host", [b"outrider.test", b"10.0.0.1:8443", b"[::1]:443", b"a_b"])
async def test_hosts_that_are_some(desk: Desk, host: bytes) -> None:
    client = desk.client()
    client.feed(b"GET /ping HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    assert status(client.take()) == 200


class TestSizes:
    async def test_a_head_without_end(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get(b"/ping")[:-2])
        for _ in range(1000):
            client.feed(b"X: " + b"y" * 1000)
            if client.take():
                break
        else:
            pytest.fail("it may go on for ever")
        assert client.protocol._silent < module.MAX_SILENCE + 2000

    async def test_a_head_that_is_too_large_for_an_agent(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get(C1 + b"/x", b"X: " + b"y" * http1.MAX_HEAD))
        assert status(client.take()) == 431
        assert nothing_ran(desk)

    async def test_a_target_that_is_too_long(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get(C1 + b"/" + b"y" * http1.MAX_HEAD))
        assert status(client.take()) == 431

    async def test_the_largest_head_that_is_served_is_one_that_agents_take(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get(C1 + b"/x", b"X: " + b"y" * (heads.MAX_LINES - 50)))
        assert len(desk.cluster.last.request.head) <= http1.MAX_HEAD

    async def test_a_header_that_is_repeated_without_end(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get(C1 + b"/x", *([b"Cookie: " + b"a" * 100] * 1000)))
        assert status(client.take()) == 431

    async def test_a_credential_that_is_too_long(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get(token=b"Bearer " + b"x" * 20_000))
        assert status(client.take()) == 431
        assert not desk.asked

    async def test_trailers_without_end(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(START + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: ")
        for _ in range(1000):
            client.feed(b"y" * 1000)
            if client.take():
                break
        else:
            pytest.fail("they may go on for ever")
        assert desk.cluster.last.resets == 1

    async def test_a_chunk_extension_without_end(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(START + b"Transfer-Encoding: chunked\r\n\r\n1;")
        for _ in range(1000):
            client.feed(b"y" * 1000)
            if client.take():
                break
        else:
            pytest.fail("it may go on for ever")


class TestTime:
    def sweep(self, desk: Desk, later: float) -> None:
        listener.sweep(desk.dispatcher.connections, asyncio.get_running_loop().time() + later)

    async def test_a_head_that_never_ends(self, desk: Desk) -> None:
        client = desk.client(linger=0.01)
        client.feed(get()[:-2])
        self.sweep(desk, listener.HEAD_SECONDS - 1)
        assert not client.take()
        self.sweep(desk, listener.HEAD_SECONDS + 1)
        assert status(client.take()) == 408
        await asyncio.sleep(0.03)
        assert client.closed

    async def test_a_second_head_that_never_ends(self, desk: Desk) -> None:
        client = desk.client(linger=0.01)
        client.feed(get(b"/ping") + b"GET")
        client.take()
        self.sweep(desk, listener.HEAD_SECONDS + 1)
        assert status(client.take()) == 408

    async def test_a_kept_connection_may_idle_before_its_next_head(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get(b"/ping"))
        client.protocol.since -= 100
        client.feed(b"GET /pi")
        self.sweep(desk, 0)
        client.take()
        client.feed(b"ng HTTP/1.1\r\nHost: a\r\n\r\n")
        assert status(client.take()) == 200

    async def test_an_idle_connection(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get(b"/ping"))
        self.sweep(desk, listener.IDLE_SECONDS - 1)
        assert not client.closed
        self.sweep(desk, listener.IDLE_SECONDS + 1)
        assert client.closed

    async def test_a_connection_that_never_says_anything(self, desk: Desk) -> None:
        client = desk.client()
        self.sweep(desk, listener.IDLE_SECONDS + 1)
        assert client.closed

    async def test_a_running_request_takes_as_long_as_it_takes(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get())
        self.sweep(desk, 100_000)
        assert not client.closed

    async def test_a_body_that_never_comes(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(START + b"Content-Length: 5\r\n\r\nhe")
        self.sweep(desk, listener.BODY_SECONDS + 1)
        assert client.aborted
        await turn()
        assert desk.cluster.last.resets == 1

    async def test_a_body_that_the_backend_does_not_take_yet(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(START + b"Content-Length: 5\r\n\r\nhe")
        desk.cluster.last.responder.pause_sending()
        self.sweep(desk, listener.BODY_SECONDS + 1)
        assert not client.closed


IDENTITY_LINES = [
    b"X-Remote-User: admin",
    b"X-Remote-Group: system:masters",
    b"X-Remote-Extra-Scopes: all",
    b"X-Outrider-Claim: e30",
    b"x-outrider-anything: 1",
    b"Proxy-Authorization: Basic YTpi",
    b"X-API-Tunnel-Token: t",
    b"X-API-Tunnel-Params: p",
    b"Forwarded: for=10.0.0.1",
    b"X-Forwarded-For: 10.0.0.1",
    b"X-Forwarded-Proto: http",
    b"X-Forwarded-Host: evil",
    b"X-Forwarded-Client-Cert: x",
    b"Keep-Alive: timeout=5",
    b"TE: trailers",
    b"Trailer: X",
    b"Cookie: R_SESS=token-x:y; other=1",
]


@pytest.mark.parametrize("path", [C1 + b"/api", b"/k8s/clusters/local/api", b"/api/v1", b"/v3/clusters"])
@pytest.mark.parametrize("line", IDENTITY_LINES)
async def test_what_only_we_may_say_never_comes_from_a_client(desk: Desk, path: bytes, line: bytes) -> None:
    client = desk.client()
    client.feed(get(path, line, b"Accept: a/b"))
    (call,) = [call for backend in desk.backends for call in backend.calls]
    name = line.partition(b":")[0].lower()
    lines = [found for found in call.lines if found.partition(b":")[0].lower() == name]
    if name == b"x-forwarded-for":
        assert lines == [b"x-forwarded-for: 192.0.2.7"]
    elif name == b"cookie" and desk.control.calls:
        assert len(lines) == 1  # control reads cookies; clusters never see them
    else:
        assert not lines
    assert b"Accept: a/b" in call.lines
    assert b"authorization" not in call.names
    assert b"host" not in call.names
    if not desk.control.calls:
        assert http1.forwardable(call.request.head, b"")


@pytest.mark.parametrize(
    "line",
    [
        b"Impersonate-User: admin",
        b"Impersonate-Group: system:masters",
        b"Impersonate-Uid: 1",
        b"Impersonate-Extra-Scopes: all",
        b"IMPERSONATE-USER: admin",
    ],
)
@pytest.mark.parametrize(
    "connection", [b"Connection: keep-alive", b"Connection: Impersonate-User, Impersonate-Group"]
)
async def test_impersonation_is_refused(desk: Desk, line: bytes, connection: bytes) -> None:
    for path in (C1 + b"/api", b"/api/v1", b"/v3/clusters"):
        client = desk.client()
        client.feed(get(path, line, connection))
        assert status(client.take()) == 403
    assert nothing_ran(desk)


@pytest.mark.parametrize(
    "named",
    [
        b"Impersonate-User",
        b"Impersonate-Group, Authorization",
        b"Authorization",
        b"Host",
        b"X-Forwarded-For",
        b"Content-Length",
        b"Transfer-Encoding",
        b"X-Outrider-Claim",
        b"close, Host",
    ],
)
async def test_a_client_cannot_take_away_what_we_add(desk: Desk, named: bytes) -> None:
    client = desk.client()
    client.feed(
        get(C1 + b"/x", b"Connection: " + named, b"Content-Length: 2", b"X-Keep: 1", method=b"PUT") + b"ok"
    )
    call = desk.cluster.last
    assert b'"u-alice"' in call.claim
    assert call.request.length == 2
    assert b"x-forwarded-for: 192.0.2.7" in call.lines
    assert b"X-Keep: 1" in call.lines
    assert not {b"connection", b"authorization", b"content-length"} & call.names


async def test_headers_named_in_connection_end_here(desk: Desk) -> None:
    client = desk.client()
    client.feed(get(C1 + b"/x", b"X-Hop: 1", b"Connection: x-hop,  X-Other", b"x-other: 2", b"X-End: 3"))
    assert not {b"x-hop", b"x-other"} & desk.cluster.last.names
    assert b"x-end" in desk.cluster.last.names


_pieces = st.sampled_from(
    [
        b"GET", b"POST", b"PRI", b" ", b"/k8s/clusters/c-1/x", b"/ping", b"*", b" HTTP/1.1", b" HTTP/1.0", b"\r\n",
        b"\n", b"\r", b"Host: a", b"Content-Length: 3", b"Content-Length: 0", b"Transfer-Encoding: chunked", b"abc",
        b"Transfer-Encoding: gzip", b"Connection: close", b"Connection: upgrade", b"Upgrade: websocket", b"3\r\nabc",
        b"Upgrade: h2c", b"0\r\n\r\n", b"Impersonate-User: x", b"Connection: impersonate-user", b"\r\n\r\n", b":",
        b"Authorization: Bearer kubeconfig-u-alice:secret", b"Cookie: R_SESS=x", b"\x00", b"\x80",
        b"Expect: 100-continue",
        b"GET /k8s/clusters/c-1/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\n",
        b"PUT /k8s/clusters/c-1/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\n",
    ]
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(st.one_of(_pieces, st.binary(max_size=6)), max_size=30),
    cut=st.integers(min_value=0, max_value=40),
    early=st.booleans(),
)
async def test_whatever_comes_backends_only_see_sound_requests(
    parts: list[bytes], cut: int, early: bool
) -> None:
    """Every request that reaches a backend may be forwarded as it is, has the body it announces, and ends once."""
    desk = Desk()

    def answer(call: Call) -> None:
        assert http1.forwardable(call.request.head, call.request.upgrade)
        assert len(call.request.head) <= http1.MAX_HEAD
        if early:
            asyncio.get_running_loop().call_soon(call.answer, b"x")

    desk.cluster.answers = answer
    client = desk.client(linger=0.001)
    client.feed(b"".join(parts), cut)
    await turn(5)
    for call in desk.cluster.calls:
        if call.finished:
            assert call.finished == 1
            assert call.request.length in {-1, len(call.body)}
        if not early and not call.resets:
            call.answer(b"x")
            await turn(2)
    client.vanish()
    await turn()
    assert not desk.dispatcher.connections
    assert all(call.resets <= 1 for call in desk.cluster.calls)
    assert all(not grant.exchanges for grant in desk.verdicts._grants.values())


class Seen:
    """What a second parser makes of what clients are sent."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.whole = 0
        self.parser = httptools.HttpResponseParser(self)

    def on_headers_complete(self) -> None:
        self.answers.append(self.parser.get_status_code())

    def on_message_complete(self) -> None:
        self.whole += 1


@settings(max_examples=150, deadline=None)
@given(
    answers=st.lists(
        st.tuples(
            st.sampled_from([200, 201, 404, 500, 204, 304]),
            st.integers(min_value=-1, max_value=6),
            st.lists(st.binary(max_size=4), max_size=4),
            st.sampled_from(["last", "end", "reset"]),
        ),
        max_size=4,
    )
)
async def test_whatever_a_backend_answers_clients_see_whole_answers_or_a_break(
    answers: list[tuple[int, int, list[bytes], str]],
) -> None:
    """The oracle: what was announced and delivered is seen whole; anything else breaks the connection or is a 502."""
    desk = Desk()
    client = desk.client()
    seen = Seen()
    sound = broken = 0
    for code, length, parts, end in answers:
        if client.closed:
            break
        client.feed(get())
        responder = desk.cluster.last.responder
        total = sum(map(len, parts))
        if end == "last":
            responder.on_head(code, length, b"", b"".join(parts), True)
        else:
            responder.on_head(code, length, b"", b"", False)
            for part in parts:
                if part:
                    responder.on_data(part)
            if end == "end":
                responder.on_end(b"")
            else:
                responder.on_reset("broken")
        fits = total == 0 if code in {204, 304} else length in {-1, total}
        if end == "reset" or (not fits and end != "last"):
            assert client.aborted
            # all that was announced was there before it broke: nothing is missing
            broken = int(code in {204, 304} or 0 <= length <= total)
        else:
            sound += 1
    seen.parser.feed_data(client.take() or b"")
    assert sound <= seen.whole <= sound + broken


async def test_answers_of_our_own_cannot_be_made_to_carry_markup(desk: Desk) -> None:
    client = desk.client()
    client.feed(get(b"/k8s/clusters/<script>/x"))
    answer = client.take()
    assert header(answer, b"content-type") == b"application/json"
    assert b"<script>" not in body(answer)


async def test_a_cluster_cannot_sign_a_browser_in(desk: Desk) -> None:
    client = desk.client()
    client.feed(get())
    lines = (
        b"Set-Cookie: R_SESS=evil; Path=/\r\nset-cookie:R_SESS=x\r\nSet-Cookie: grafana=1\r\nX: R_SESS\r\n"
    )
    desk.cluster.last.answer(b"ok", lines=lines)
    answer = client.take()
    assert b"et-cookie: R_SESS" not in answer
    assert b"set-cookie:R_SESS" not in answer
    assert b"Set-Cookie: grafana=1\r\nX: R_SESS\r\n" in answer


async def test_control_can(desk: Desk) -> None:
    client = desk.client()
    client.feed(get(b"/v3-public/login", method=b"POST", token=b""))
    desk.control.last.answer(b"ok", lines=b"Set-Cookie: R_SESS=token\r\n")
    assert b"Set-Cookie: R_SESS=token\r\n" in client.take()
