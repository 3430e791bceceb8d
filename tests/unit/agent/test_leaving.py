from __future__ import annotations

import asyncio

import pytest

from outrider.agent.leaving import Leaving
from outrider.tunnel.reports import Removal, decode_agent_message


class Line:
    def __init__(self) -> None:
        self.heard: list[object] = []

    def send_message(self, body: bytes) -> None:
        self.heard.append(decode_agent_message(body))


async def test_the_keeping_has_ended_before_the_departure_begins() -> None:
    ordered = asyncio.Event()
    story: list[str] = []

    async def keep() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            story.append("kept")

    async def depart() -> None:
        story.append("departed")

    leaving = Leaving(ordered)
    running = asyncio.create_task(leaving.instead_of(keep, depart))
    await asyncio.sleep(0.01)
    assert not story
    ordered.set()
    await running
    assert story == ["kept", "departed"]
    assert leaving.done.is_set()


async def test_a_failure_to_keep_is_raised_and_nothing_departs() -> None:
    async def keep() -> None:
        raise ValueError("x")

    async def depart() -> None:
        raise AssertionError

    leaving = Leaving(asyncio.Event())
    with pytest.raises(ValueError, match="x"):
        await leaving.instead_of(keep, depart)
    assert not leaving.done.is_set()


async def test_every_tunnel_hears_how_far_it_is() -> None:
    leaving, first, second = Leaving(asyncio.Event()), Line(), Line()
    leaving.attach(first)
    assert not first.heard
    leaving.tell(Removal(remaining=2))
    leaving.tell(Removal(remaining=2))
    leaving.attach(second)
    leaving.detach(first)
    leaving.tell(Removal(done=True))
    assert first.heard == [Removal(remaining=2)]
    assert second.heard == [Removal(remaining=2), Removal(done=True)]
