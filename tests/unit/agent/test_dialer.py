from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from outrider.agent.dialer import Dialer, Tunnel
from outrider.agent.errors import AbandonedError, FetchError, TrustError
from outrider.agent.settings import AgentSettings
from outrider.agent.trust import Trust
from outrider.kit.backoff import Backoff
from outrider.kit.tasks import cancel_and_wait
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
        self.dialed: list[str] = []
        self.tokens: list[str] = []
        self.open: list[Tunnel] = []
        self.ended: list[Tunnel] = []

    async def dial(
        self, url: str, context: ssl.SSLContext, headers: Mapping[str, str], *, proxy: str | None
    ) -> Tunnel:
        self.dialed.append(url)
        self.tokens.append(headers["X-API-Tunnel-Token"])
        if not self.answers:
            await asyncio.Event().wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        answer.heard = asyncio.get_running_loop().time()
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


def dialer(settings: AgentSettings, line: Line, trust: Trust | None = None) -> Dialer:
    return Dialer(
        settings,
        trust or FakeTrust(),
        FakeRegistration(settings),
        line.dial,
        opened=line.open.append,
        gone=line.ended.append,
        now=asyncio.get_running_loop().time,
        backoff=Backoff(0.001, 0.01),
        settled=0.05,
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
