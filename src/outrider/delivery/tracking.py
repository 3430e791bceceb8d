"""How far each object of a set is, and the report that this makes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from outrider.delivery.entries import Ref
from outrider.delivery.index import Want
from outrider.delivery.moves import Move
from outrider.tunnel.reports import Failure, OwnerState

MAX_FAILURES: Final = 50


class Track:
    """One object: which entry was applied last, with which mark, what was seen since, what went wrong.

    `seen` is None when nothing was seen since it was applied.
    """

    __slots__ = ("applied", "failure", "mark", "seen", "tried")

    def __init__(self) -> None:
        self.applied = b""
        self.tried = b""
        self.mark = 0
        self.seen: int | None = None
        self.failure = ""

    def is_current(self, want: Want) -> bool:
        """Whether the object is as wanted, as far as is known."""
        return self.applied == want.digest and self.seen in (None, self.mark) and not self.failure

    def was_tried(self, want: Want) -> bool:
        """Whether this entry was tried once, with or without success."""
        return self.tried == want.digest

    def begin(self) -> None:
        """It is being applied: what is seen from here on may come after it."""
        self.seen = None

    def succeed(self, want: Want, mark: int) -> bool:
        """It was applied and got this mark; returns whether another one was seen meanwhile."""
        self.applied = self.tried = want.digest
        self.mark = mark
        self.failure = ""
        return self.seen not in (None, mark)

    def fail(self, want: Want, message: str) -> None:
        """It could not be applied."""
        self.tried = want.digest
        self.failure = message


class Summary:
    """Counts over the objects of a set."""

    def __init__(self) -> None:
        self.applied = self.failed = self.pending = 0
        self.failures: list[Failure] = []
        self._owners: dict[str, list[int]] = {}
        self._messages: dict[str, str] = {}

    def add(self, ref: Ref, want: Want, track: Track | None) -> None:
        """Count an object."""
        owner = self._owners.setdefault(want.owner, [0, 0])
        if track is None or not track.was_tried(want):
            self.pending += 1
        elif track.failure:
            self.fail(want.owner, failure_of(ref, want.api_version, track.failure))
        else:
            self.applied += 1
            owner[0] += 1

    def fail(self, owner: str, failure: Failure) -> None:
        """Count a failure."""
        self.failed += 1
        self._owners.setdefault(owner, [0, 0])[1] += 1
        named = f"{failure.kind} {failure.name}: {failure.message}" if failure.name else failure.message
        self._messages.setdefault(owner, named)
        if len(self.failures) < MAX_FAILURES:
            self.failures.append(failure)

    def add_moves(self, outcome: Mapping[Move, str], *, known: bool) -> None:
        """Count moves of namespaces, with why they failed; until the namespaces are `known`, more may come."""
        self.pending += not known
        for move, message in outcome.items():
            self.pending += not message
            if message:
                failure = Failure(api_version="v1", kind="Namespace", name=move.namespace, message=message)
                self.fail(move.owner, failure)

    @property
    def owners(self) -> list[OwnerState]:
        """The counts by feature, sorted by name."""
        return [
            OwnerState(name=name, applied=applied, failed=failed, message=self._messages.get(name, ""))
            for name, (applied, failed) in sorted(self._owners.items())
        ]


def summarise(
    wanted: Iterable[tuple[Ref, Want]],
    tracks: Mapping[Ref, Track],
    leaving: Mapping[Ref, str],
    problems: Iterable[tuple[str, str]],
) -> Summary:
    """Counts everything; `leaving` says why objects that should go are still there."""
    summary = Summary()
    for ref, want in wanted:
        summary.add(ref, want, tracks.get(ref))
    for ref, message in leaving.items():
        summary.fail("", failure_of(ref, "", f"not deleted: {message}"))
    for owner, message in problems:
        summary.fail(owner, Failure(api_version="", kind="", name="", message=message))
    return summary


def failure_of(ref: Ref, api_version: str, message: str) -> Failure:
    """A failure of one object."""
    return Failure(
        api_version=api_version or ref.group,
        kind=ref.kind,
        name=ref.name,
        namespace=ref.namespace,
        message=message,
    )
