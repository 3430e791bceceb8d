"""Architecture, decision 4, sentence by sentence: how long the gateway trusts what control said."""

import asyncio
from typing import Any

import pytest

from outrider.gateway import verdicts as module
from outrider.kube.identity import Identity
from outrider.link.messages import Beat, Invalidate, Verdict
from tests.support.wire import Wire
from tests.unit.gateway.desk import ALICE, C1, Desk, get, header, status, turn


@pytest.fixture
async def desk() -> Desk:
    return Desk()


@pytest.fixture
async def later(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Moves the loop's clock forward, for whoever asks it."""
    loop = asyncio.get_running_loop()
    moved = 0.0
    real = loop.time

    def move(seconds: float) -> None:
        nonlocal moved
        moved += seconds

    monkeypatch.setattr(loop, "time", lambda: real() + moved)
    return move


def ask(desk: Desk, client: Wire, path: bytes = C1 + b"/x", *lines: bytes) -> int:
    """One request; its status, 200 when it reaches the cluster."""
    before = len(desk.cluster.calls)
    client.feed(get(path, *lines))
    if len(desk.cluster.calls) > before:
        desk.cluster.last.answer()
    return status(client.take())


def refused(status: int, **more: Any) -> Verdict:
    return Verdict(id=0, status=status, generation=1, ttl=1.0, **more)


def watch(desk: Desk, client: Wire) -> Any:
    client.feed(get(C1 + b"/watch"))
    call = desk.cluster.last
    call.responder.on_head(200, -1, b"", b"{}", False)
    return call


async def test_control_is_asked_once(desk: Desk) -> None:
    client = desk.client()
    assert [ask(desk, client) for _ in range(3)] == [200] * 3
    (question,) = desk.asked
    assert (question.cluster, question.host, question.remote) == ("c-1", "outrider.test", "192.0.2.7")
    assert "secret" not in repr(question)


async def test_requests_that_come_together_share_a_question(desk: Desk) -> None:
    verdict, desk.verdict = desk.verdict, None
    clients = [desk.client() for _ in range(3)]
    for client in clients:
        client.feed(get())
    assert len(desk.asked) == 1
    assert verdict is not None
    desk.say(verdict)
    assert len(desk.cluster.calls) == 3


async def test_each_cluster_and_each_credential_is_a_question_of_its_own(desk: Desk) -> None:
    client = desk.client()
    ask(desk, client)
    client.feed(get(b"/k8s/clusters/c-2/x"))
    client.feed(get(token=b"Bearer other"))
    assert len(desk.asked) == 3


async def test_a_verdict_dies_with_its_time(desk: Desk, later: Any) -> None:
    client = desk.client()
    ask(desk, client)
    later(29)
    desk.verdicts.on_beat(Beat(generation=1))
    ask(desk, client)
    assert len(desk.asked) == 1
    later(2)
    desk.verdicts.on_beat(Beat(generation=1))
    ask(desk, client)
    assert len(desk.asked) == 2


@pytest.mark.parametrize(
    ("message", "asks"),
    [
        (Invalidate(generation=2, tokens=("t-1",)), True),
        (Invalidate(generation=2, users=("u-alice",)), True),
        (Invalidate(generation=2, everything=True), True),
        (Invalidate(generation=2, tokens=("t-2",), users=("u-bob",)), False),
    ],
)
async def test_a_verdict_dies_with_the_invalidation_that_names_it(
    desk: Desk, message: Invalidate, asks: bool
) -> None:
    client = desk.client()
    ask(desk, client)
    desk.verdicts.on_invalidate(message)
    desk.verdict = refused(401, token="t-1", user="u-alice")
    assert ask(desk, client) == (401 if asks else 200)


async def test_a_refusal_dies_with_it_too(desk: Desk) -> None:
    good = desk.verdict
    desk.verdict = refused(401, token="t-1", user="u-alice")
    client = desk.client()
    assert ask(desk, client) == 401
    desk.verdict = good
    assert ask(desk, client) == 401
    desk.verdicts.on_invalidate(Invalidate(generation=1, users=("u-alice",)))
    assert ask(desk, client) == 200


async def test_a_verdict_that_was_overtaken_is_asked_for_again(desk: Desk) -> None:
    verdict, desk.verdict = desk.verdict, None
    client = desk.client()
    client.feed(get())
    desk.verdicts.on_invalidate(Invalidate(generation=2, users=("u-alice",)))
    assert verdict is not None
    desk.say(verdict)  # of generation 1
    assert not desk.cluster.calls
    assert len(desk.asked) == 2
    desk.say(refused(404))
    assert status(client.take()) == 404


async def test_rules_that_change_without_end_put_the_request_off(desk: Desk) -> None:
    client = desk.client()
    desk.verdicts.on_beat(Beat(generation=9))
    client.feed(get())
    assert status(client.take()) == 503
    assert len(desk.asked) == module.ATTEMPTS


async def test_without_the_beat_verdicts_expire_and_the_answer_is_503(desk: Desk, later: Any) -> None:
    client = desk.client()
    assert ask(desk, client) == 200
    later(4.9)
    assert ask(desk, client) == 200
    later(0.2)
    client.feed(get())
    answer = client.take()
    assert (status(answer), header(answer, b"retry-after")) == (503, b"5")
    assert len(desk.asked) == 1  # nobody is asked who does not answer
    desk.verdicts.on_beat(Beat(generation=1))
    assert ask(desk, client) == 200


async def test_no_answer_from_control_is_a_503(desk: Desk) -> None:
    desk.verdicts._patience = 0.01
    desk.verdict = None
    client = desk.client()
    client.feed(get())
    await asyncio.sleep(0.03)
    assert status(client.take()) == 503


async def test_timers_do_not_pile_up(desk: Desk) -> None:
    loop = asyncio.get_running_loop()
    client = desk.client()
    before = len(loop._scheduled)  # type: ignore[attr-defined]
    for number in range(200):
        client.feed(get(token=b"Bearer %d" % number))
        desk.cluster.last.answer()
    alive = [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
    assert len(alive) <= before + 1


async def test_a_lost_link_answers_whoever_waits(desk: Desk) -> None:
    desk.verdict = None
    client = desk.client()
    client.feed(get())
    desk.verdicts.on_link_lost()
    assert status(client.take()) == 503


async def test_a_lost_link_ends_no_stream(desk: Desk) -> None:
    client = desk.client()
    call = watch(desk, client)
    desk.verdicts.on_link_lost()
    desk.verdicts.on_invalidate(Invalidate(generation=1, everything=True))  # how a new control process begins
    assert not client.closed
    assert call.resets == 0


async def test_another_control_process_counts_anew(desk: Desk) -> None:
    client = desk.client()
    desk.verdicts.on_beat(Beat(generation=1000))
    desk.verdicts.on_link_lost()
    desk.verdicts.on_invalidate(Invalidate(generation=1, everything=True))
    assert ask(desk, client) == 200


class TestRevocation:
    @pytest.mark.parametrize("code", [401, 404])
    async def test_ends_watches(self, desk: Desk, code: int) -> None:
        client = desk.client()
        call = watch(desk, client)
        desk.verdict = refused(code)
        desk.verdicts.on_invalidate(Invalidate(generation=2, tokens=("t-1",)))
        assert client.aborted
        assert call.resets == 1
        await turn()
        assert len(desk.ledger.finished) == 1

    async def test_ends_shells(self, desk: Desk) -> None:
        client = desk.client()
        client.feed(get(C1 + b"/exec", b"Connection: upgrade", b"Upgrade: SPDY/3.1"))
        desk.cluster.last.responder.on_head(101, -1, b"", b"", False)
        desk.verdict = refused(401)
        desk.verdicts.on_invalidate(Invalidate(generation=2, tokens=("t-1",)))
        assert client.aborted
        assert desk.cluster.last.resets == 1

    async def test_ends_only_what_was_revoked(self, desk: Desk) -> None:
        first = desk.client()
        revoked = watch(desk, first)
        other = Verdict(id=0, status=200, identity=ALICE, token="t-2", user="u-bob", generation=1, ttl=30.0)
        desk.verdict = other
        second = desk.client()
        second.feed(get(C1 + b"/watch", token=b"Bearer bob"))
        kept = desk.cluster.last
        kept.responder.on_head(200, -1, b"", b"", False)
        desk.verdict = refused(401)
        desk.verdicts.on_invalidate(Invalidate(generation=2, tokens=("t-1",)))
        assert (revoked.resets, kept.resets) == (1, 0)
        assert not second.closed

    async def test_a_change_that_takes_nothing_ends_nothing(self, desk: Desk) -> None:
        client = desk.client()
        call = watch(desk, client)
        assert desk.verdict is not None
        desk.verdict = Verdict(
            id=0, status=200, identity=ALICE, token="t-1", user="u-alice", generation=2, ttl=1.0
        )
        desk.verdicts.on_invalidate(Invalidate(generation=2, everything=True))
        assert len(desk.asked) == 2
        assert call.resets == 0

    async def test_another_identity_ends_what_stands_on_the_old(self, desk: Desk) -> None:
        client = desk.client()
        call = watch(desk, client)
        desk.verdict = Verdict(
            id=0,
            status=200,
            identity=Identity("u-alice", ("other",)),
            token="t-1",
            user="u-alice",
            generation=2,
            ttl=30.0,
        )
        desk.verdicts.on_invalidate(Invalidate(generation=2, users=("u-alice",)))
        assert call.resets == 1
        fresh = desk.client()
        assert ask(desk, fresh) == 200
        assert b"other" in desk.cluster.last.claim

    @pytest.mark.parametrize("code", [503, 429])
    async def test_a_question_without_an_answer_is_asked_again_with_the_next_beat(
        self, desk: Desk, code: int
    ) -> None:
        client = desk.client()
        call = watch(desk, client)
        desk.verdict = refused(code)
        desk.verdicts.on_invalidate(Invalidate(generation=2, tokens=("t-1",)))
        assert call.resets == 0
        desk.verdict = refused(401)
        desk.verdicts.on_beat(Beat(generation=2))
        assert call.resets == 1

    async def test_names_of_the_grant_survive_an_unanswered_question(self, desk: Desk) -> None:
        client = desk.client()
        call = watch(desk, client)
        desk.verdict = refused(503)
        desk.verdicts.on_invalidate(Invalidate(generation=2, tokens=("t-1",)))
        desk.verdict = refused(401)
        desk.verdicts.on_invalidate(Invalidate(generation=3, tokens=("t-1",)))
        assert call.resets == 1

    async def test_what_is_not_answered_yet_has_a_second(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "LAST_WORDS", 0.02)
        quick, slow = desk.client(), desk.client()
        quick.feed(get(b"/v3/tokens?action=logout", method=b"POST"))
        goodbye = desk.control.last
        slow.feed(get(b"/v3/slow", method=b"POST"))
        endless = desk.control.last
        desk.verdict = refused(401)
        desk.verdicts.on_invalidate(Invalidate(generation=2, tokens=("t-1",)))
        goodbye.answer(b"signed out")
        assert quick.take().endswith(b"signed out")
        await asyncio.sleep(0.05)
        assert not quick.closed
        assert slow.aborted
        assert endless.resets == 1

    async def test_a_pipelined_successor_is_not_cut_in_its_place(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "LAST_WORDS", 0.02)
        client = desk.client()
        client.feed(get(C1 + b"/a") + get(b"/k8s/clusters/c-1/b", token=b"Bearer other"))
        desk.verdict = refused(401)
        desk.verdicts.on_invalidate(Invalidate(generation=2, tokens=("t-1",)))
        desk.verdict = Verdict(id=0, status=200, identity=ALICE, token="t-9", generation=2, ttl=30.0)
        desk.cluster.last.answer()
        await asyncio.sleep(0.05)
        assert not client.closed


async def test_memory_is_bounded(desk: Desk) -> None:
    desk.verdicts._limit = 50
    desk.verdict = refused(401)
    client = desk.client()
    for number in range(500):
        client.feed(get(token=b"Bearer %d" % number))
    assert len(desk.verdicts._grants) <= 50


async def test_what_is_over_is_forgotten(desk: Desk, later: Any) -> None:
    client = desk.client()
    watch(desk, client)
    ask(desk, desk.client(), b"/k8s/clusters/c-2/x")
    later(100)
    desk.verdicts.sweep()
    assert [key[1] for key in desk.verdicts._grants] == ["c-1"]


async def test_unknown_answers_are_ignored(desk: Desk) -> None:
    desk.verdicts.on_verdict(Verdict(id=77, status=200, identity=ALICE, ttl=30.0))
    assert not desk.verdicts._grants


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        (Verdict(id=0, status=401, ttl=1.0), 401),
        (Verdict(id=0, status=404, ttl=1.0), 404),
        (Verdict(id=0, status=503), 503),
        (Verdict(id=0, status=429, ttl=7.0, message="too many attempts"), 429),
    ],
)
async def test_refusals(desk: Desk, verdict: Verdict, code: int) -> None:
    desk.verdict = verdict
    client = desk.client()
    client.feed(get())
    answer = client.take()
    assert status(answer) == code
    assert header(answer, b"retry-after") == {429: b"7", 503: b"5"}.get(code, b"")
    assert not desk.cluster.calls


async def test_unknown_and_forbidden_clusters_are_answered_byte_for_byte_alike(desk: Desk) -> None:
    client = desk.client()
    desk.verdict = refused(404, token="t-1", user="u-alice", message="x", code="NotFound")
    client.feed(get(C1 + b"/x"))
    forbidden = client.take()
    client.feed(get(b"/k8s/clusters/c-404/x"))
    assert client.take() == forbidden


async def test_without_a_credential_nobody_is_asked(desk: Desk) -> None:
    client = desk.client()
    client.feed(get(token=b""))
    assert status(client.take()) == 401
    assert not desk.asked
