"""The agent's end of the hand-over, with tunnels that remember what was sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from outrider.delivery.assembly import DesiredSet, assemble
from outrider.delivery.entries import Entry
from outrider.delivery.fetcher import Fetcher
from outrider.delivery.ledger import Kept
from outrider.delivery.parts import compress, missing
from outrider.kit.tasks import cancel_and_wait
from outrider.tunnel.reports import (
    StateHead,
    StateHello,
    StateNeed,
    StatePart,
    StateReport,
    decode_agent_message,
)


class Tunnel:
    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send_message(self, body: bytes) -> None:
        self.sent.append(decode_agent_message(body))

    def asked(self) -> list[str]:
        return [digest for one in self.sent if isinstance(one, StateNeed) for digest in one.parts]


class Applier:
    """Wants whatever is newer."""

    def __init__(self) -> None:
        self.active = True
        self.whole = True
        self.kept = Kept()
        self.last: StateReport | None = None
        self.have: dict[str, bytes] = {}
        self.offered: list[tuple[StateHead, Mapping[str, bytes]]] = []

    def wants(self, head: StateHead) -> bool:
        return head.version > self.kept.version

    def lacks(self, head: StateHead) -> list[str]:
        return missing(head.parts, self.have)

    def offer(self, head: StateHead, parts: Mapping[str, bytes]) -> None:
        self.offered.append((head, parts))
        self.have.update(parts)
        self.kept = Kept(epoch=head.epoch, counter=head.counter, hash=head.hash, parts=head.parts)


def large(seed: str, count: int = 12) -> DesiredSet:
    objects = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"{seed}-{n}", "namespace": "n"},
            "data": {"k": "x" * 200_000},
        }
        for n in range(count)
    ]
    return assemble([Entry(owner="o", object=obj) for obj in objects])


def answer(fetcher: Fetcher, tunnel: Tunnel, made: DesiredSet, most: int = 1000) -> None:
    """The server answers what was asked, part by part."""
    answered = 0
    while len(tunnel.asked()) > answered and answered < most:
        digest = tunnel.asked()[answered]
        answered += 1
        fetcher.on_part(tunnel, StatePart(digest=digest, data=compress(made.parts[digest])))


def test_parts_come_a_few_at_a_time() -> None:
    applier, tunnel, made = Applier(), Tunnel(), large("a")
    fetcher = Fetcher(applier)  # type: ignore[arg-type]
    fetcher.attach(tunnel)
    assert tunnel.sent == [StateHello()]
    fetcher.on_head(tunnel, made.head(1, 1))
    assert len(tunnel.asked()) == 4
    answer(fetcher, tunnel, made)
    assert len(tunnel.asked()) == len(made.parts)
    (head, parts), *more = applier.offered
    assert head == made.head(1, 1)
    assert parts.keys() == made.parts.keys()
    assert not more


def test_only_what_is_lacking_is_asked_for() -> None:
    applier, tunnel, made = Applier(), Tunnel(), large("a")
    applier.have = dict.fromkeys(list(made.parts)[1:], b"")
    fetcher = Fetcher(applier)  # type: ignore[arg-type]
    fetcher.attach(tunnel)
    fetcher.on_head(tunnel, made.head(1, 1))
    assert tunnel.asked() == list(made.parts)[:1]


def test_a_newer_set_takes_the_place_of_one_under_way() -> None:
    applier, tunnel, made, newer = Applier(), Tunnel(), large("a"), large("a", 13)
    fetcher = Fetcher(applier)  # type: ignore[arg-type]
    fetcher.attach(tunnel)
    fetcher.on_head(tunnel, made.head(1, 1))
    answer(fetcher, tunnel, made, most=2)
    fetcher.on_head(tunnel, newer.head(1, 2))
    answered: set[str] = set()
    while open_ := [digest for digest in tunnel.asked() if digest not in answered]:
        answered.add(open_[0])
        part = newer.parts.get(open_[0], made.parts.get(open_[0], b""))
        fetcher.on_part(tunnel, StatePart(digest=open_[0], data=compress(part)))
    assert [head.counter for head, _ in applier.offered] == [2]


def test_a_lost_tunnel_is_replaced_by_another_with_the_same_offer() -> None:
    applier, first, second, made = Applier(), Tunnel(), Tunnel(), large("a")
    fetcher = Fetcher(applier)  # type: ignore[arg-type]
    for tunnel in (first, second):
        fetcher.attach(tunnel)
        fetcher.on_head(tunnel, made.head(1, 1))
    assert second.asked() == []
    fetcher.detach(first)
    answer(fetcher, second, made)
    assert len(applier.offered) == 1


def test_what_has_arrived_outlives_its_tunnel() -> None:
    applier, first, second, made = Applier(), Tunnel(), Tunnel(), large("a")
    fetcher = Fetcher(applier)  # type: ignore[arg-type]
    fetcher.attach(first)
    fetcher.on_head(first, made.head(1, 1))
    answer(fetcher, first, made, most=7)
    fetcher.detach(first)
    fetcher.attach(second)
    fetcher.on_head(second, made.head(1, 1))
    answer(fetcher, second, made)
    assert len(second.asked()) == len(made.parts) - 7
    ((_, parts),) = applier.offered
    assert parts.keys() == made.parts.keys()


async def test_what_has_arrived_outlives_a_lease_that_is_lost_for_a_moment() -> None:
    applier, tunnel, made = Applier(), Tunnel(), large("a")
    fetcher = Fetcher(applier, patience=0.2)  # type: ignore[arg-type]
    running = asyncio.create_task(fetcher.run())
    fetcher.attach(tunnel)

    def flap() -> None:
        applier.active = False
        fetcher.look()
        applier.active = True
        fetcher.look()

    fetcher.on_head(tunnel, made.head(1, 1))
    answer(fetcher, tunnel, made, most=6)
    before = len(tunnel.asked())
    flap()
    assert len(tunnel.asked()) - before == 4
    assert not set(tunnel.asked()[before:]) & set(tunnel.asked()[:6]), "nothing that is here is asked for"
    # A replica that does not apply for longer keeps nothing.
    applier.active = False
    fetcher.look()
    await asyncio.sleep(0.5)
    applier.active = True
    before = len(tunnel.asked())
    fetcher.look()
    assert tunnel.asked()[before:] == list(made.parts)[:4]
    await cancel_and_wait(running)


def test_nothing_is_kept_of_what_is_no_longer_wanted() -> None:
    applier, first, second, made, other = Applier(), Tunnel(), Tunnel(), large("a"), large("b")
    fetcher = Fetcher(applier)  # type: ignore[arg-type]
    fetcher.attach(first)
    fetcher.on_head(first, made.head(1, 1))
    answer(fetcher, first, made, most=7)
    fetcher.detach(first)
    fetcher.attach(second)
    fetcher.on_head(second, other.head(1, 2))
    answer(fetcher, second, other)
    ((_, parts),) = applier.offered
    assert parts.keys() == other.parts.keys()


def test_a_bad_part_is_not_taken() -> None:
    applier, first, second, made = Applier(), Tunnel(), Tunnel(), large("a")
    fetcher = Fetcher(applier)  # type: ignore[arg-type]
    for tunnel in (first, second):
        fetcher.attach(tunnel)
        fetcher.on_head(tunnel, made.head(1, 1))
    fetcher.on_part(first, StatePart(digest=first.asked()[0], data=compress(b"[]")))
    answer(fetcher, second, made)
    assert len(applier.offered) == 1
    fetcher.on_part(second, StatePart(digest="unasked", data=b""))


async def test_a_server_that_goes_on_sending_a_bad_part_is_not_asked_all_the_time() -> None:
    applier, tunnel, made = Applier(), Tunnel(), large("a")
    fetcher = Fetcher(applier, patience=0.1)  # type: ignore[arg-type]
    running = asyncio.create_task(fetcher.run())
    fetcher.attach(tunnel)
    fetcher.on_head(tunnel, made.head(1, 1))
    bad = tunnel.asked()[0]
    said = len(tunnel.sent)
    fetcher.on_part(tunnel, StatePart(digest=bad, data=compress(b"[]")))
    assert len(tunnel.sent) == said
    answered = {bad}
    while open_ := [digest for digest in tunnel.asked() if digest not in answered]:
        answered.add(open_[0])
        fetcher.on_part(tunnel, StatePart(digest=open_[0], data=compress(made.parts[open_[0]])))
    assert applier.offered == []
    # after a while it asks again from its first word, and then for the bad one alone
    async with asyncio.timeout(5):
        while tunnel.sent[-1] != StateHello():
            await asyncio.sleep(0.01)
    fetcher.on_head(tunnel, made.head(1, 1))
    assert tunnel.sent[-1] == StateNeed(hash=made.hash, parts=(bad,))
    fetcher.on_part(tunnel, StatePart(digest=bad, data=compress(made.parts[bad])))
    assert len(applier.offered) == 1
    await cancel_and_wait(running)


def test_who_does_not_apply_fetches_nothing_until_it_does() -> None:
    applier, tunnel, made = Applier(), Tunnel(), large("a", 1)
    applier.active = False
    fetcher = Fetcher(applier)  # type: ignore[arg-type]
    fetcher.attach(tunnel)
    fetcher.on_head(tunnel, made.head(1, 1))
    assert tunnel.asked() == []
    applier.active = True
    fetcher.look()
    assert tunnel.asked() == list(made.parts)


def test_what_is_held_is_told_so_that_nothing_is_sent() -> None:
    applier, tunnel = Applier(), Tunnel()
    applier.kept = Kept(epoch=3, counter=4, hash="h")
    applier.last = StateReport(epoch=3, counter=4)
    Fetcher(applier).attach(tunnel)  # type: ignore[arg-type]
    assert tunnel.sent == [StateHello(epoch=3, counter=4, hash="h"), applier.last]
