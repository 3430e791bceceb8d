from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from outrider.agent.dialer import Dialer, Tunnel
from outrider.agent.errors import AbandonedError, FetchError, TrustError
from outrider.agent.settings import AgentSettings
from outrider.agent.trust import Trust
from outrider.kit.backoff import Backoff
from outrider.kit.tasks import cancel_and_wait
from outrider.tunnel.reports import Hello
from outrider.tunnel.session import DialError

TOKEN = "bcdfghjklmnpqrstvwxz2456789"


class FakeTunnel:
    def __init__(self, *, answers: bool = True) -> None:
        self._loop = asyncio.get_running_loop()
        self._answers = answers
        self.heard = self._loop.time()
        self.closed: asyncio.Future[str] = self._loop.create_future()
        self.pings = 0

    def ping(self) -> None:
        self.pings += 1
        if self._answers:
            self.heard = self._loop.time()

    def close(self, reason: str) -> None:
        if not self.closed.done():
            self.closed.set_result(reason)

    def drop(self, reason: str) -> None:
        self.close(reason)

    def send_message(self, body: bytes) -> None:
        raise AssertionError("the dialer sends nothing")


class FakeTrust(Trust):
    """Answers with what it is told, in turn; the last answer stays."""

    def __init__(self, *outcomes: Exception | None) -> None:
        super().__init__("https://server")
        self.outcomes = list(outcomes) or [None]

    async def establish(self) -> ssl.SSLContext:
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if outcome is not None:
            raise outcome
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Line:
    """Answers dials from a list, and remembers them."""

    def __init__(self, *answers: FakeTunnel | Exception) -> None:
        self.answers = list(answers)
        self.before: Callable[[Tunnel], None] = lambda tunnel: None
        self.dialed: list[str] = []
        self.met: list[str] = []
        self.tokens: list[str] = []
        self.open: list[Tunnel] = []
        self.ended: list[Tunnel] = []

    async def dial(
        self, url: str, context: ssl.SSLContext, headers: Mapping[str, str], *, proxy: str | None
    ) -> Tunnel:
        self.dialed.append(url)
        self.tokens.append(headers["X-API-Tunnel-Token"])
        self.met.append(headers.get("X-Outrider-Met", ""))
        if not self.answers:
            await asyncio.Event().wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        answer.heard = asyncio.get_running_loop().time()
        self.before(answer)
        return answer


@pytest.fixture
def settings(tmp_path: Path) -> AgentSettings:
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "ca.crt").write_text("PEM\n")
    return AgentSettings(
        server="https://server:8443",
        kubernetes_host="10.43.0.1",
        credentials=tmp_path,
        service_account=tmp_path,
        ping_every=0.01,
        silence=0.1,
        give_up_after=0.4,
    )


class FakeRegistration:
    """Reads the mounted token, or the one that the cluster's Secret would hold after a refusal."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings

    async def headers(self, *, refused: bool) -> dict[str, str]:
        return {"X-API-Tunnel-Token": "stored" if refused else self._settings.tunnel_token()}


def dialer(
    settings: AgentSettings,
    line: Line,
    trust: Trust | None = None,
    *,
    backoff: Backoff | None = None,
    settled: float = 0.05,
) -> Dialer:
    return Dialer(
        settings,
        trust or FakeTrust(),
        FakeRegistration(settings),
        line.dial,
        opened=line.open.append,
        gone=line.ended.append,
        now=asyncio.get_running_loop().time,
        backoff=backoff or Backoff(0.001, 0.01),
        settled=settled,
    )


@pytest.fixture
async def running() -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks: list[asyncio.Task[None]] = []
    yield tasks
    await cancel_and_wait(*tasks)


async def until(condition: object, what: str = "") -> None:
    async with asyncio.timeout(3):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.005)


async def test_the_first_dial_registers_and_later_ones_connect(
    settings: AgentSettings, running: list[asyncio.Task[None]]
) -> None:
    first = FakeTunnel()
    line = Line(DialError("refused"), first)
    running.append(asyncio.create_task(dialer(settings, line).run()))
    await until(lambda: line.open)
    first.close("server restarts")
    await until(lambda: len(line.dialed) == 3)
    register, connect = "wss://server:8443/v3/connect/register", "wss://server:8443/v3/connect"
    assert line.dialed == [register, register, connect]
    assert line.ended == [first]


async def test_a_silent_server_is_dropped(settings: AgentSettings, running: list[asyncio.Task[None]]) -> None:
    dead, alive = FakeTunnel(answers=False), FakeTunnel()
    line = Line(dead, alive)
    running.append(asyncio.create_task(dialer(settings, line).run()))
    await until(lambda: len(line.open) == 2)
    assert "nothing was heard" in dead.closed.result()
    await asyncio.sleep(0.2)
    assert not alive.closed.done()
    assert alive.pings > 5


async def test_the_token_is_read_again_for_each_dial(
    settings: AgentSettings, running: list[asyncio.Task[None]]
) -> None:
    tunnel = FakeTunnel()
    line = Line(tunnel)
    running.append(asyncio.create_task(dialer(settings, line).run()))
    await until(lambda: line.open)
    rotated = TOKEN[::-1]
    (settings.credentials / "token").write_text(rotated)
    tunnel.close("")
    await until(lambda: len(line.tokens) == 2)
    assert line.tokens == [TOKEN, rotated]


async def test_it_gives_up_in_the_end(settings: AgentSettings) -> None:
    line = Line(*[DialError("503 no")] * 10_000)
    with pytest.raises(AbandonedError, match="503 no"):
        await dialer(settings, line).run()
    assert len(line.dialed) > 5


async def test_a_mistaken_server_is_fatal_at_the_start(settings: AgentSettings) -> None:
    line = Line()
    with pytest.raises(TrustError):
        await dialer(settings, line, FakeTrust(FetchError("starting"), TrustError("another CA"))).run()
    assert line.dialed == []


async def test_a_mistaken_server_later_gets_no_token(
    settings: AgentSettings, running: list[asyncio.Task[None]]
) -> None:
    tunnel, again = FakeTunnel(), FakeTunnel()
    line = Line(tunnel, again)
    wrong = TrustError("another CA")
    running.append(
        asyncio.create_task(dialer(settings, line, FakeTrust(None, wrong, wrong, wrong, None)).run())
    )
    await until(lambda: line.open)
    tunnel.close("")
    await until(lambda: len(line.open) == 2)
    assert len(line.tokens) == 2


async def test_the_same_refusal_is_logged_once(
    settings: AgentSettings, running: list[asyncio.Task[None]], caplog: pytest.LogCaptureFixture
) -> None:
    refused = [DialError("the server refused the tunnel: 400 cluster not found")] * 5
    line = Line(*refused, DialError("other"), FakeTunnel())
    with caplog.at_level(logging.ERROR):
        running.append(asyncio.create_task(dialer(settings, line).run()))
        await until(lambda: line.open)
    assert [record.getMessage().split(": ", 1)[1] for record in caplog.records] == [
        "the server refused the tunnel: 400 cluster not found",
        "other",
    ]


async def test_an_unreadable_token_is_a_reason_to_wait_not_to_crash(
    settings: AgentSettings, running: list[asyncio.Task[None]]
) -> None:
    (settings.credentials / "token").unlink()
    line = Line(FakeTunnel())
    running.append(asyncio.create_task(dialer(settings, line).run()))
    await asyncio.sleep(0.05)
    assert line.dialed == []
    (settings.credentials / "token").write_text(TOKEN)
    await until(lambda: line.open)


async def test_stopping_closes_the_tunnel(settings: AgentSettings) -> None:
    tunnel = FakeTunnel()
    line = Line(tunnel)
    task = asyncio.create_task(dialer(settings, line).run())
    await until(lambda: line.open)
    await cancel_and_wait(task)
    assert tunnel.closed.result() == "the agent stops"
    assert line.ended == [tunnel]


async def test_after_a_refusal_the_stored_token_is_tried_in_turn(
    settings: AgentSettings, running: list[asyncio.Task[None]]
) -> None:
    refusals = [DialError("cluster not found", status) for status in (400, 401, 400)]
    line = Line(*refusals, DialError("no answer"), FakeTunnel())
    running.append(asyncio.create_task(dialer(settings, line).run()))
    await until(lambda: line.open)
    assert line.tokens == [TOKEN, "stored", TOKEN, "stored", TOKEN]


def greeting(replica: str, *replicas: str) -> Hello:
    return Hello(replica=replica, replicas=replicas, spread=0.05)


async def test_it_keeps_one_tunnel_to_each_replica(
    settings: AgentSettings, running: list[asyncio.Task[None]]
) -> None:
    one, refusal, other = FakeTunnel(), DialError("met already", 409), FakeTunnel()
    line = Line(one, refusal, other)
    dialing = dialer(settings, line)
    running.append(asyncio.create_task(dialing.run()))
    await until(lambda: line.open == [one])
    dialing.greeted(one, greeting("a", "a", "b"))
    await until(lambda: line.open == [one, other])
    dialing.greeted(other, greeting("b", "a", "b"))
    await asyncio.sleep(0.2)
    assert line.met == ["", "a", "a"]
    assert line.tokens == [TOKEN] * 3, "a refused search says nothing about the token"
    assert not one.closed.done()
    again = FakeTunnel()
    line.answers.append(again)
    one.close("server restarts")
    await until(lambda: line.open == [one, other, again])
    assert line.met[-1] == "b"
    assert line.ended == [one]
    assert not other.closed.done()


async def test_a_greeting_may_come_before_the_dial_has_returned(
    settings: AgentSettings, running: list[asyncio.Task[None]]
) -> None:
    one, other = FakeTunnel(), FakeTunnel()
    line = Line(one, other)
    dialing = dialer(settings, line)
    line.before = lambda tunnel: dialing.greeted(tunnel, greeting("a", "a", "b"))
    running.append(asyncio.create_task(dialing.run()))
    await until(lambda: line.open == [one, other])


async def test_a_needless_tunnel_is_closed(
    settings: AgentSettings, running: list[asyncio.Task[None]]
) -> None:
    one, needless = FakeTunnel(), FakeTunnel()
    line = Line(one, needless)
    dialing = dialer(settings, line)
    running.append(asyncio.create_task(dialing.run()))
    await until(lambda: line.open == [one])
    dialing.greeted(one, greeting("a", "a", "b"))
    await until(lambda: line.open == [one, needless])
    dialing.greeted(needless, greeting("a", "a", "b"))
    await until(lambda: line.ended == [needless])
    assert "already" in needless.closed.result()
    assert not one.closed.done()


async def test_when_all_tunnels_are_gone_it_registers_nobody_as_met(
    settings: AgentSettings, running: list[asyncio.Task[None]]
) -> None:
    one, other, again = FakeTunnel(), FakeTunnel(), FakeTunnel()
    line = Line(one, other, again)
    dialing = dialer(settings, line)
    running.append(asyncio.create_task(dialing.run()))
    await until(lambda: line.open == [one])
    dialing.greeted(one, greeting("a", "a", "b"))
    await until(lambda: line.open == [one, other])
    dialing.greeted(other, greeting("b", "a", "b"))
    one.close("")
    other.close("")
    await until(lambda: line.open == [one, other, again])
    assert line.met[-1] == ""


async def test_what_a_short_tunnel_lasted_counts_as_waiting(
    settings: AgentSettings, running: list[asyncio.Task[None]]
) -> None:
    loop, tunnel = asyncio.get_running_loop(), FakeTunnel()
    line = Line(*[DialError("no answer")] * 3, tunnel)
    dialing = dialer(settings, line, backoff=Backoff(0.05, 10.0, jitter=0.0), settled=10.0)
    running.append(asyncio.create_task(dialing.run()))
    await until(lambda: line.open)
    await asyncio.sleep(0.4)
    tunnel.close("the replica died")
    lost = loop.time()
    await until(lambda: len(line.dialed) == 5)
    assert loop.time() - lost < 0.2, "0.4 s would have been the next pause"


async def test_a_server_that_breaks_every_tunnel_at_once_is_dialled_ever_more_seldom(
    settings: AgentSettings, running: list[asyncio.Task[None]]
) -> None:
    line = Line(*[FakeTunnel() for _ in range(50)])
    line.before = lambda tunnel: tunnel.close("crash")
    dialing = dialer(settings, line, backoff=Backoff(0.02, 10.0, jitter=0.0), settled=10.0)
    running.append(asyncio.create_task(dialing.run()))
    await asyncio.sleep(0.5)
    assert len(line.dialed) < 8


async def test_a_search_makes_one_connection_a_dial(
    settings: AgentSettings, running: list[asyncio.Task[None]]
) -> None:
    """Two would lead every dial to the same one of two servers that a balancer takes in turn."""

    class Counting(FakeTrust):
        looks = 0

        async def establish(self) -> ssl.SSLContext:
            self.looks += 1
            return await super().establish()

    trust = Counting()
    one, other = FakeTunnel(), FakeTunnel()
    line = Line(one, DialError("met already", 409), DialError("met already", 409), other)
    dialing = dialer(settings, line, trust)
    running.append(asyncio.create_task(dialing.run()))
    await until(lambda: line.open == [one])
    dialing.greeted(one, greeting("a", "a", "b"))
    await until(lambda: line.open == [one, other])
    assert trust.looks == 1
    line.answers += [DialError("the certificate is not trusted"), FakeTunnel()]
    dialing.greeted(other, greeting("b", "a", "b", "c"))
    await until(lambda: len(line.open) == 3)
    assert trust.looks == 2, "what failed otherwise is looked at anew"
