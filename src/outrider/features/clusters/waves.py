"""Which clusters get another image of their agent now: first one, then growing waves. Pure.

Nothing is remembered between two plans. The sizes of the waves are 1, 2, 4, … up to the largest; which wave it is
follows from how many clusters have begun, and a wave begins when no cluster of those before is under way.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

import msgspec


class Step(Enum):
    """How far a cluster is on the way to the image that it should have, or what is to be done about it."""

    SETTLED = "has it"
    ADOPT = "gets it at once: there is nothing to be careful with"
    BEGIN = "gets it now: it was chosen, or its own spec names the image"
    READY = "gets it when its turn comes"
    AWAY = "is not connected and waits"
    UNDER_WAY = "has it in its desired state; its agent has not said so yet"
    ARRIVED = "its agent has just said so"
    LATE = "its agent did not say so in time"
    LOST = "was disconnected before the image reached it"
    FAILED = "was late, and nothing has changed since"
    AGAIN = "was late, and somebody asks to wait once more"


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where one cluster stands.

    Attributes:
        counted: it is a part of the waves, and not alone with an image that its own spec names.
        upgraded: it came to its image by an upgrade, or is on the way.
        first: it should be among the first.
    """

    name: str
    step: Step
    counted: bool = True
    upgraded: bool = False
    first: bool = False


class Wave(NamedTuple):
    """The present wave: how many clusters it has, and how many more of them may begin now."""

    size: int
    room: int


class Progress(NamedTuple):
    """The fleet in numbers; `failed` are names."""

    total: int
    settled: int
    under_way: int
    waiting: int
    away: int
    failed: tuple[str, ...]


_BEGUN = {Step.UNDER_WAY, Step.ARRIVED, Step.LATE, Step.FAILED, Step.AGAIN}
_UNDER_WAY = {Step.UNDER_WAY, Step.AGAIN}
_FAILED = {Step.LATE, Step.FAILED}
_SETTLED = {Step.SETTLED, Step.ARRIVED, Step.ADOPT}
_AWAY = {Step.AWAY, Step.LOST}


def wave(begun: int, under_way: int, largest: int) -> Wave:
    """The wave that the next cluster belongs to, after `begun` clusters of which some are still `under_way`."""
    if largest < 1:
        return Wave(0, 0)
    size = end = 1
    while end < begun or (end == begun and not under_way):
        size = min(size * 2, largest)
        if size == largest:
            # From here on all waves are equal: count them instead of walking through them
            end += size * max(1, (begun - end) // size)
        else:
            end += size
    return Wave(size, max(0, min(end - begun, size - under_way)))


def choose(standings: Iterable[Standing], *, largest: int, tolerated: int) -> list[str]:
    """The names of the clusters that begin now."""
    counted = [one for one in standings if one.counted]
    if sum(one.step in _FAILED for one in counted) > tolerated:
        return []
    begun = sum(one.upgraded and one.step in _BEGUN | {Step.SETTLED} for one in counted)
    under_way = sum(one.step in _UNDER_WAY for one in counted)
    ready = sorted((not one.first, one.name) for one in counted if one.step is Step.READY)
    return [name for _, name in ready[: wave(begun, under_way, largest).room]]


def progress(standings: Iterable[Standing]) -> Progress:
    """The fleet in numbers."""
    counted = [one for one in standings if one.counted]

    def count(steps: set[Step]) -> int:
        return sum(one.step in steps for one in counted)

    return Progress(
        total=len(counted),
        settled=count(_SETTLED),
        under_way=count(_UNDER_WAY),
        waiting=count({Step.READY}),
        away=count(_AWAY),
        failed=tuple(sorted(one.name for one in counted if one.step in _FAILED)),
    )


def words(now: Progress, image: str, *, largest: int, tolerated: int) -> str:
    """The progress as a person reads it; empty without clusters."""
    if not now.total:
        return ""
    numbers = {"under way": now.under_way, "waiting": now.waiting, "not connected": now.away}
    parts = [f"{now.settled} of {now.total} clusters have {image}"]
    parts += [f"{count} {name}" for name, count in numbers.items() if count]
    text = ", ".join(parts)
    if now.failed:
        shown = ", ".join(now.failed[:5]) + (" and others" if len(now.failed) > 5 else "")
        text += f"; {len(now.failed)} failed: {shown} (see their condition AgentUpgraded)"
    if len(now.failed) > tolerated:
        text = (
            f"stopped: {text}. It goes on when their agents connect; or set agent-image to another image,"
            " or raise agent-upgrade-tolerated-failures"
        )
    elif largest < 1 and now.waiting:
        text += "; paused: agent-upgrade-largest-wave is 0"
    return text
