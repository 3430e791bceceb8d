"""Requests in, answers out: framing, order, ends."""

import asyncio

import pytest

from outrider.gateway import connection as module
from outrider.gateway.connection import MAX_PIPELINED
from outrider.link.messages import Verdict
from tests.support.wire import Call, Script
from tests.unit.gateway.desk import C1, Desk, body, get, header, status, turn


@pytest.fixture
async def desk() -> Desk:
    return Desk()


def echo(call: Call) -> None:
    call.answer(call.target)


def chunks(wire: bytes) -> bytes:
    """Decodes a chunked body, strictly."""
    whole = b""
    while True:
        size, _, rest = wire.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return whole
        whole += rest[:length]
        assert rest[length : length + 2] == b"\r\n"
        wire = rest[length + 2 :]


async def test_keeps_the_connection(desk: Desk) -> None:
    desk.cluster.answers = echo
    client = desk.client()
    for number in range(3):
        client.feed(get(C1 + b"/%d" % number))
        answer = client.take()
        assert (status(answer), body(answer)) == (200, b"/%d" % number)
        assert not header(answer, b"connection")
    assert not client.closed


@pytest.mark.parametrize("size", [1, 7, 0])
async def test_any_cut_of_the_bytes_makes_the_same_requests(desk: Desk, size: int) -> None:
    client = desk.client()
    client.feed(
        get(C1 + b"/a", b"Content-Length: 5", method=b"POST") + b"hello" + get(C1 + b"/b", b"X-Thing: 1"),
        size,
    )
    first = desk.cluster.calls[0]
    assert (first.target, first.request.length, bytes(first.body), first.finished) == (b"/a", 5, b"hello", 1)
    first.answer()
    second = desk.cluster.calls[1]
    assert (second.target, second.lines[0], second.request.length) == (b"/b", b"X-Thing: 1", 0)


async def test_pipelined_requests_are_answered_in_order_one_after_the_other(desk: Desk) -> None:
    client = desk.client()
    client.feed(b"".join(get(C1 + b"/%d" % n) for n in range(5)))
    for number in range(5):
        assert len(desk.cluster.calls) == number + 1
        desk.cluster.last.answer(b"%d" % number)
    assert [part[:1] for part in client.take().split(b"\r\n\r\n")[1:]] == [b"0", b"1", b"2", b"3", b"4"]
    assert client.reading


async def test_many_pipelined_requests_are_parsed_as_they_are_needed(desk: Desk) -> None:
    client = desk.client()
    total = 20 * MAX_PIPELINED
    client.feed(b"".join(get(C1 + b"/%d" % n) for n in range(total)))
    assert not client.reading
    assert len(client.protocol._queue) == MAX_PIPELINED
    for number in range(total):
        await turn(2)
        assert desk.cluster.last.target == b"/%d" % number
        assert len(client.protocol._queue) <= MAX_PIPELINED
        desk.cluster.last.answer(b"x")
    await turn()
    assert client.take().count(b"HTTP/1.1 200 OK") == total
    assert client.reading


async def test_many_pipelined_requests_that_are_answered_at_once(desk: Desk) -> None:
    client = desk.client()
    client.feed(get(C1 + b"/slow") + b"".join(get(b"/ping") for _ in range(500)))
    desk.cluster.last.answer()
    for _ in range(100):
        await turn()
    assert client.take().count(b"pong") == 500


async def test_what_follows_a_last_request_is_not_run(desk: Desk) -> None:
    client = desk.client()
    client.feed(get(C1 + b"/a", b"Connection: close") + get(C1 + b"/b", method=b"DELETE"))
    client.feed(get(C1 + b"/c", method=b"DELETE"))
    desk.cluster.last.answer()
    await turn()
    assert [call.target for call in desk.cluster.calls] == [b"/a"]
    assert header(client.take(), b"connection") == b"close"
    assert client.closed
    assert not client.aborted


async def test_http_1_0(desk: Desk) -> None:
    client = desk.client()
    client.feed(b"GET /ping HTTP/1.0\r\n\r\n")
    assert header(client.take(), b"connection") == b"close"
    assert client.closed


async def test_http_1_0_with_keep_alive(desk: Desk) -> None:
    client = desk.client()
    for _ in range(2):
        client.feed(b"GET /ping HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
        assert header(client.take(), b"connection") == b"keep-alive"
    assert not client.closed


async def test_a_body_of_unknown_length_ends_with_the_connection_in_http_1_0(desk: Desk) -> None:
    client = desk.client()
    client.feed(
        b"GET /k8s/clusters/c-1/ HTTP/1.0\r\nAuthorization: Bearer x\r\nConnection: keep-alive\r\n\r\n"
    )
    answers = desk.cluster.last.responder
    answers.on_head(200, -1, b"", b"one", False)
    answers.on_data(b"two")
    answers.on_end(b"")
    answer = client.take()
    assert body(answer) == b"onetwo"
    assert header(answer, b"connection") == b"close"
    assert client.closed


@pytest.mark.parametrize(
    ("code", "length", "method"),
    [(200, 12, b"HEAD"), (204, -1, b"GET"), (304, -1, b"GET"), (200, -1, b"HEAD")],
)
async def test_answers_without_a_body(desk: Desk, code: int, length: int, method: bytes) -> None:
    client = desk.client()
    client.feed(get(method=method))
    desk.cluster.last.responder.on_head(code, length, b"", b"", True)
    answer = client.take()
    assert status(answer) == code
    assert body(answer) == b""
    assert header(answer, b"content-length") == (b"12" if length > 0 else b"")
    assert not header(answer, b"transfer-encoding")
    client.feed(get(b"/ping"))
    assert body(client.take()) == b"pong"


async def test_chunks_and_trailers(desk: Desk) -> None:
    client = desk.client()
    client.feed(get())
    answers = desk.cluster.last.responder
    answers.on_head(200, -1, b"trailer-to-be: x\r\n", b"first", False)
    answers.on_data(b"y" * 100_000)
    answers.on_end(b"checksum: 1\r\n")
    answer = client.take()
    assert chunks(body(answer)) == b"first" + b"y" * 100_000
    assert answer.endswith(b"\r\n0\r\nchecksum: 1\r\n\r\n")


async def test_a_chunked_request(desk: Desk) -> None:
    client = desk.client()
    head = get(C1 + b"/x", b"Transfer-Encoding: chunked", method=b"PUT")
    client.feed(head + b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nX-Trailer: y\r\n\r\n" + get(b"/ping"))
    call = desk.cluster.last
    assert (call.request.length, bytes(call.body), call.finished) == (-1, b"abcde", 1)
    call.answer()
    assert client.take().endswith(b"pong")


async def test_informational_answers_go_on(desk: Desk) -> None:
    client = desk.client()
    client.feed(get(C1 + b"/x", b"Content-Length: 2", b"Expect: 100-continue", method=b"PUT"))
    call = desk.cluster.last
    assert b"expect" in call.names
    call.responder.on_head(100, -1, b"", b"", False)
    assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.feed(b"ok")
    call.responder.on_head(103, -1, b"link: x\r\n", b"", False)
    call.answer(b"done")
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert not client.closed


async def test_an_old_client_hears_of_no_informational_answers(desk: Desk) -> None:
    client = desk.client()
    client.feed(b"GET /k8s/clusters/c-1/ HTTP/1.0\r\nAuthorization: Bearer x\r\n\r\n")
    desk.cluster.last.responder.on_head(103, -1, b"", b"", False)
    assert not client.take()


async def test_an_early_answer_leaves_the_connection_usable(desk: Desk) -> None:
    client = desk.client()
    client.feed(get(C1 + b"/x", b"Content-Length: 10", method=b"POST") + b"12345")
    call = desk.cluster.last
    call.answer(b"too much", 413)
    answer = client.take()
    assert (status(answer), body(answer)) == (413, b"too much")
    client.feed(b"67890" + get(b"/ping"))
    assert bytes(call.body) == b"12345"
    assert body(client.take()) == b"pong"
    assert not client.closed


async def test_an_early_answer_to_a_sender_that_stalls_ends_the_connection(desk: Desk) -> None:
    client = desk.client(linger=0.02)
    client.feed(get(C1 + b"/x", b"Content-Length: 10", method=b"POST") + b"12345")
    desk.cluster.last.answer(b"no", 413)
    await asyncio.sleep(0.05)
    assert client.closed
    assert not client.aborted


async def test_an_early_answer_to_a_sender_without_end(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DISCARDED", 1000)
    client = desk.client(linger=60)
    client.feed(get(C1 + b"/x", b"Transfer-Encoding: chunked", method=b"POST") + b"1\r\nx\r\n")
    desk.cluster.last.answer(b"no", 413)
    for _ in range(20):
        client.feed(b"64\r\n" + b"x" * 100 + b"\r\n")
    assert client.closed


async def test_whoever_waits_to_be_asked_for_a_body_is_not_kept_after_an_early_answer(desk: Desk) -> None:
    client = desk.client()
    client.feed(get(C1 + b"/x", b"Content-Length: 10", b"Expect: 100-continue", method=b"POST"))
    desk.cluster.last.answer(b"no", 403)
    assert header(client.take(), b"connection") == b"close"
    client.feed(get(C1 + b"/y", method=b"DELETE"))
    assert len(desk.cluster.calls) == 1


async def test_a_refusal_while_the_body_is_on_its_way(desk: Desk) -> None:
    client = desk.client()
    client.feed(get(b"/k8s/clusters/c-9/x", b"Content-Length: 10", method=b"POST") + b"12345")
    assert status(client.take()) == 503
    client.feed(b"67890" + get(b"/ping"))
    assert body(client.take()) == b"pong"


class TestAnswersThatContradictThemselves:
    async def test_too_long(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get())
        call = desk.cluster.last
        call.responder.on_head(200, 3, b"", b"", False)
        call.responder.on_data(b"four")
        assert client.aborted
        assert call.resets == 1
        assert body(client.take()) == b""
        await turn()
        assert len(desk.ledger.finished) == 1

    async def test_too_short(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get())
        responder = desk.cluster.last.responder
        responder.on_head(200, 30, b"", b"one", False)
        responder.on_end(b"")
        assert client.aborted

    @pytest.mark.parametrize(("length", "data"), [(3, b"four"), (3, b"tw")])
    async def test_wrong_at_once_is_an_error_that_can_be_read(
        self, desk: Desk, length: int, data: bytes
    ) -> None:
        client = desk.client()
        client.feed(get())
        desk.cluster.last.responder.on_head(200, length, b"", data, True)
        assert status(client.take()) == 502
        assert not client.closed

    async def test_a_body_for_head(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get(method=b"HEAD"))
        desk.cluster.last.responder.on_head(200, 4, b"", b"body", True)
        answer = client.take()
        assert status(answer) == 502
        assert body(answer) == b""

    @pytest.mark.parametrize("code", [204, 304])
    async def test_a_body_where_none_may_be(self, desk: Desk, code: int) -> None:
        client = desk.client()
        client.feed(get())
        responder = desk.cluster.last.responder
        responder.on_head(code, -1, b"", b"", False)
        responder.on_data(b"HTTP/1.1 200 OK\r\n")
        assert client.aborted
        assert b"200 OK" not in client.take()

    async def test_a_switch_that_nobody_asked_for(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get())
        responder = desk.cluster.last.responder
        responder.on_head(101, -1, b"", b"HTTP/1.1 200 OK\r\n\r\n", False)
        responder.on_data(b"HTTP/1.1 200 OK\r\n\r\n")
        assert status(client.take()) == 502

    async def test_a_body_before_its_head(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get())
        desk.cluster.last.responder.on_data(b"HTTP/1.1 200 OK\r\n\r\n")
        assert status(client.take()) == 502

    async def test_a_second_head(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get())
        responder = desk.cluster.last.responder
        responder.on_head(200, 10, b"", b"", False)
        responder.on_head(200, 10, b"", b"", False)
        assert client.aborted

    async def test_an_informational_answer_as_the_last(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get())
        desk.cluster.last.responder.on_head(103, -1, b"", b"", True)
        assert status(client.take()) == 502


class TestGivingUp:
    async def test_before_the_answer_a_safe_request_may_be_repeated(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get())
        desk.cluster.last.responder.on_reset("tunnel disconnect")
        answer = client.take()
        assert (status(answer), header(answer, b"retry-after")) == (503, b"5")

    async def test_what_may_have_been_carried_out_is_not_offered_for_repetition(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get(method=b"POST"))
        desk.cluster.last.responder.on_reset("tunnel disconnect")
        answer = client.take()
        assert (status(answer), header(answer, b"retry-after")) == (502, b"")
        assert b"tunnel disconnect" in answer

    async def test_what_never_left_may_be_repeated(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get(method=b"POST"))
        desk.cluster.last.responder.on_reset("no connection", refused=True)
        assert header(client.take(), b"retry-after") == b"5"

    async def test_in_the_middle_of_an_answer_the_connection_breaks(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get())
        call = desk.cluster.last
        call.responder.on_head(200, -1, b"", b"half", False)
        call.responder.on_reset("tunnel disconnect")
        assert client.aborted
        assert not client.take().endswith(b"0\r\n\r\n")


class TestVanishing:
    async def test_while_its_verdict_is_awaited(self, desk: Desk) -> None:
        verdict, desk.verdict = desk.verdict, None
        client = desk.client()
        client.feed(get())
        client.vanish()
        assert verdict is not None
        desk.say(verdict)
        assert not desk.cluster.calls
        assert len(desk.ledger.finished) == 1

    async def test_while_it_sends_a_body(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get(C1 + b"/x", b"Content-Length: 10", method=b"POST") + b"12345")
        client.vanish()
        assert (desk.cluster.last.resets, desk.cluster.last.finished) == (1, 0)

    async def test_before_its_answer(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get())
        client.vanish(politely=True)
        assert desk.cluster.last.resets == 1

    async def test_in_the_middle_of_its_answer(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get())
        call = desk.cluster.last
        call.responder.on_head(200, -1, b"", b"half", False)
        client.vanish()
        assert call.resets == 1
        call.responder.on_data(b"late")  # crossed on the way
        call.responder.on_end(b"")
        assert len(desk.ledger.finished) == 1

    async def test_after_its_answer(self, desk: Desk) -> None:
        desk.cluster.answers = echo
        client = desk.client()
        client.feed(get())
        client.vanish()
        assert desk.cluster.last.resets == 0

    async def test_with_requests_in_the_queue(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get(C1 + b"/a") + get(C1 + b"/b"))
        client.vanish()
        await turn()
        assert [call.target for call in desk.cluster.calls] == [b"/a"]
        assert desk.cluster.last.resets == 1
        assert len(desk.ledger.finished) == 1

    async def test_nothing_is_left_behind(self, desk: Desk) -> None:
        for stage in range(3):
            client = desk.client()
            client.feed(get())
            if stage:
                desk.cluster.last.responder.on_head(200, -1, b"", b"", False)
            if stage == 2:
                desk.cluster.last.responder.on_end(b"")
            client.vanish()
        assert not desk.dispatcher.connections
        assert all(not grant.exchanges for grant in desk.verdicts._grants.values())


class TestPressure:
    async def test_a_slow_client_slows_its_backend(self, desk: Desk) -> None:
        client = desk.client()
        client.eager = False
        client.feed(get())
        call = desk.cluster.last
        call.responder.on_head(200, -1, b"", b"", False)
        call.responder.on_data(b"x" * 300_000)
        assert call.paused
        client.drain()
        assert not call.paused

    async def test_a_request_that_waits_for_its_verdict_starts_slow_when_its_client_is(
        self, desk: Desk
    ) -> None:
        client = desk.client()
        client.eager = False
        client.feed(get())
        desk.cluster.last.answer(b"x" * 300_000)
        desk.verdict, verdict = None, desk.verdict
        desk.verdicts._grants.clear()
        client.feed(get(C1 + b"/next"))
        assert verdict is not None
        desk.say(verdict)
        assert desk.cluster.last.target == b"/next"
        assert desk.cluster.last.paused
        client.drain()
        assert not desk.cluster.last.paused

    async def test_a_backend_that_is_done_is_left_alone(self, desk: Desk) -> None:
        client = desk.client()
        client.eager = False
        client.feed(get())
        call = desk.cluster.last
        call.answer(b"x" * 300_000)
        client.drain()
        client.vanish()
        assert (call.resets, call.paused) == (0, False)

    async def test_a_slow_backend_slows_its_client(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get(C1 + b"/x", b"Content-Length: 9", method=b"PUT") + b"123")
        responder = desk.cluster.last.responder
        responder.pause_sending()
        assert not client.reading
        responder.resume_sending()
        assert client.reading

    async def test_an_answer_lets_go_of_the_client(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get(C1 + b"/x", b"Content-Length: 9", method=b"PUT") + b"123")
        desk.cluster.last.responder.pause_sending()
        desk.cluster.last.answer(b"full", 507)
        assert client.reading
        client.feed(b"456789" + get(b"/ping"))
        assert client.take().endswith(b"pong")

    async def test_a_body_that_waits_for_a_verdict_is_bounded(self, desk: Desk) -> None:
        verdict, desk.verdict = desk.verdict, None
        client = desk.client()
        client.feed(get(C1 + b"/x", b"Content-Length: 10000000", method=b"PUT"))
        fed = 0
        while client.reading:
            client.feed(b"x" * 60_000)
            fed += 60_000
        assert fed < 700_000
        assert verdict is not None
        desk.say(verdict)
        assert client.reading
        assert len(desk.cluster.last.body) == fed

    async def test_a_backend_that_is_full_at_once_keeps_the_client_back(self, desk: Desk) -> None:
        verdict, desk.verdict = desk.verdict, None

        class Full(Script):
            def open(self, request, claim, responder):  # type: ignore[no-untyped-def]
                call = super().open(request, claim, responder)
                call.send = lambda data: responder.pause_sending()  # type: ignore[method-assign]
                return call

        desk.scripts["c-1"] = Full()
        client = desk.client()
        client.feed(get(C1 + b"/x", b"Content-Length: 10000000", method=b"PUT"))
        while client.reading:
            client.feed(b"x" * 60_000)
        assert verdict is not None
        desk.say(verdict)
        assert not client.reading

    async def test_a_refused_body_is_let_in_and_dropped(self, desk: Desk) -> None:
        desk.verdict = None
        client = desk.client()
        client.feed(get(C1 + b"/x", b"Content-Length: 700000", method=b"PUT") + b"x" * 600_000)
        assert not client.reading
        desk.say(Verdict(id=0, status=401, ttl=1.0))
        assert client.reading
        client.feed(b"x" * 100_000 + get(b"/ping"))
        assert client.take().endswith(b"pong")
