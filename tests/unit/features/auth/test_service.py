import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from outrider.features.auth.freshness import Freshness, Heart
from outrider.features.auth.service import VerdictLink
from outrider.kube.client import Client
from outrider.kube.transport import Response
from outrider.link.endpoint import Endpoint
from outrider.link.messages import Beat, Invalidate, Resolve, Verdict
from tests.support.clock import FakeClock
from tests.support.fake_api import FakeApi


class Judge:
    """Answers when the test lets it."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def resolve(self, question: Resolve) -> Verdict:
        await self.gate.wait()
        if question.credential == "broken":
            raise RuntimeError("a bug")
        return Verdict(id=question.id, status=200)


class Rig:
    def __init__(self, ours: Endpoint, gateway: Endpoint) -> None:
        self.ours, self.gateway = ours, gateway
        self.clock = FakeClock()
        self.freshness = Freshness(self.clock, gather=0.001)
        self.judge: Any = Judge()
        api = FakeApi()
        api.interfere = lambda request: Response(status=200, headers={}, body=b"{}")
        heart = Heart(Client(api), self.freshness, lambda: True, self.clock)
        self.link = VerdictLink(self.judge, self.freshness, heart, most=3)
        self._messages = aiter(gateway)

    async def heard(self) -> Any:
        return await asyncio.wait_for(anext(self._messages), 5)

    async def answered(self) -> Verdict:
        while True:
            message = await self.heard()
            if isinstance(message, Verdict):
                return message


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    left, right = socket.socketpair()
    rig = Rig(
        Endpoint(*await asyncio.open_unix_connection(sock=left)),
        Endpoint(*await asyncio.open_unix_connection(sock=right)),
    )
    yield rig
    await rig.link.close()
    rig.freshness.close()
    await rig._messages.aclose()
    await rig.ours.close()
    await rig.gateway.close()


async def test_a_gateway_hears_first_that_nothing_holds_then_the_beat(rig):
    async with rig.link.attached(rig.ours):
        first = await rig.heard()
        assert first == Invalidate(generation=rig.freshness.generation, everything=True)
        assert await rig.heard() == Beat(generation=rig.freshness.generation)
        await rig.clock.advance(1)
        assert isinstance(await rig.heard(), Beat)
        rig.freshness.everything_changed()
        message = await rig.heard()
        assert (message.everything, message.generation) == (True, rig.freshness.generation)


async def test_nothing_is_sent_after_the_block(rig):
    async with rig.link.attached(rig.ours):
        await rig.heard()
        await rig.heard()
    rig.freshness.everything_changed()
    await rig.clock.advance(5)
    rig.judge.gate.set()
    rig.link.answer(rig.ours, Resolve(id=9, credential=""))
    assert await rig.heard() == Verdict(id=9, status=200)


async def test_questions_are_answered_side_by_side_and_bounded(rig):
    for number in range(4):
        rig.link.answer(rig.ours, Resolve(id=number, credential=""))
    refused = await rig.answered()
    assert (refused.id, refused.status) == (3, 503)
    rig.judge.gate.set()
    assert sorted([(await rig.answered()).id for _ in range(3)]) == [0, 1, 2]


async def test_a_bug_is_answered_503(rig, caplog):
    rig.judge.gate.set()
    rig.link.answer(rig.ours, Resolve(id=1, credential="broken"))
    assert (await rig.answered()).status == 503
    assert "a bug" in caplog.text


async def test_a_broken_link_disturbs_nobody(rig):
    await rig.ours.close()
    async with rig.link.attached(rig.ours):
        rig.judge.gate.set()
        rig.link.answer(rig.ours, Resolve(id=1, credential=""))
        rig.freshness.everything_changed()
        await asyncio.sleep(0.02)
