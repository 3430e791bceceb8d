"""Makes a cluster agree with the newest desired state, keeps it so, and removes what left it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from outrider.delivery.enforcer import Enforcer
from outrider.delivery.entries import LAST_RANK
from outrider.delivery.errors import DeliveryError, LedgerLost
from outrider.delivery.holding import Holding
from outrider.delivery.instances import shares_of
from outrider.delivery.ledger import Kept, Ledger
from outrider.delivery.moves import Mover, moves_of, still_leaving
from outrider.delivery.parts import PartError, missing
from outrider.delivery.plan import Verdict, judge
from outrider.delivery.presence import MANAGER
from outrider.delivery.spaces import ProjectNamespaces
from outrider.delivery.tracking import summarise
from outrider.kit.backoff import Backoff
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.client import Client
from outrider.kube.errors import KubeError
from outrider.tunnel.reports import StateHead, StateReport

log = logging.getLogger(__name__)

_LOGGED: Final = 5
_REFUSED: Final = {
    Verdict.OLDER: "%d.%d is newer and kept",
    Verdict.CONTRADICTION: "%d.%d is kept, and that version is another set",
    Verdict.UNSOUND: "its hash is wrong; %d.%d is kept",
    Verdict.TOO_LARGE: "it has too many parts; %d.%d is kept",
}


class StateApplier:
    """Applies one set after another in one cluster; generic over whose client it is given.

    `client` must be of the field manager `manager`. `report` is called with the outcome when it changed,
    `report_every` seconds after the first change; `changed` when another set is held, or none any more.
    `image` and `version` are those of the agent, and told in each report. `workers` objects are applied at a
    time. All objects are applied again every `every` seconds, in case a watch missed something; `retry` bounds
    the pause after a failure to read or write the ledger.
    """

    def __init__(
        self,
        client: Client,
        report: Callable[[StateReport], None],
        *,
        changed: Callable[[], None] = lambda: None,
        manager: str = MANAGER,
        workers: int = 8,
        every: float = 3600.0,
        retry: float = 10.0,
        report_every: float = 0.5,
        watch_seconds: float = 300.0,
        image: str = "",
        version: str = "",
    ) -> None:
        self._client = client
        self._report = report
        self._changed = changed
        self._manager = manager
        self._workers = workers
        self._every = every
        self._retry = retry
        self._report_every = report_every
        self._watch_seconds = watch_seconds
        self._image = image
        self._version = version
        self._sequence = 0
        self.last: StateReport | None = None
        self._reset(0)

    def _reset(self, term: int) -> None:
        self._term = term
        self._wake = asyncio.Event()
        self._news = asyncio.Event()
        self._ledger = Ledger(self._client, term=term)
        self._holding = Holding(self._ledger)
        self._namespaces = ProjectNamespaces(self._client, self._wake.set, watch_seconds=self._watch_seconds)
        self._enforcer = Enforcer(
            self._client,
            self._holding,
            manager=self._manager,
            news=self._news.set,
            late=self._wake.set,
            uid_of=self._namespaces.uid_of,
            workers=self._workers,
            watch_seconds=self._watch_seconds,
        )
        self._mover = Mover(self._client, self._news.set, retry=self._retry)
        self._moves_known = False
        self._offered: tuple[StateHead, Mapping[str, bytes]] | None = None
        self._trouble = ""
        self.active = False

    # what is held, and what is offered

    @property
    def kept(self) -> Kept:
        """What is enforced, or will be."""
        return self._holding.kept

    @property
    def whole(self) -> bool:
        """Whether no part of what is kept is missing."""
        return self._holding.whole

    def lacks(self, head: StateHead) -> list[str]:
        """Digests of the parts of a head that are not here."""
        return missing(head.parts, self._holding.parts)

    def wants(self, head: StateHead) -> bool:
        """Whether a head would be taken over; a refusal is logged."""
        verdict = judge(head, self.kept)
        if verdict in _REFUSED:
            log.warning(
                f"refused desired state %d.%d: {_REFUSED[verdict]}", *head.version, *self.kept.version
            )
            return False
        if self._offered is not None and head.version <= self._offered[0].version:
            return False
        return verdict is Verdict.NEW or not self.whole

    def offer(self, head: StateHead, parts: Mapping[str, bytes]) -> None:
        """Take over a set; `parts` holds those that were lacking, compressed."""
        if self.wants(head):
            self._offered = (head, parts)
            self._wake.set()

    # running

    async def run(self, term: int = 0) -> None:
        """Applies until cancelled. Only one may at a time; `term` grows with each that does."""
        while True:
            self._reset(term)
            try:
                await self._load()
                await self._serve()
            except LedgerLost as error:
                log.warning("%s; reading it again", error)
            finally:
                self.active = False
                self._changed()
            await asyncio.sleep(self._retry)

    async def _load(self) -> None:
        while True:
            try:
                await self._holding.read()
                break
            except (KubeError, DeliveryError) as error:
                self._complain(str(error))
            await asyncio.sleep(self._retry)
        self.active = True
        self._trouble = ""
        self._changed()

    async def _serve(self) -> None:
        tasks = [
            asyncio.create_task(run(), name=f"desired state: {run.__name__}")
            for run in (self._conduct, self._enforcer.run, self._mover.run, self._tell, self._resync)
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await cancel_and_wait(*tasks)
            await self._namespaces.close()

    async def _conduct(self) -> None:
        backoff = Backoff(min(0.2, self._retry), self._retry)
        while True:
            self._wake.clear()
            try:
                await self._advance()
            except KubeError as error:
                self._complain(str(error))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(backoff.next()):
                        await self._wake.wait()
                continue
            backoff.reset()
            self._recovered()
            await self._wake.wait()

    async def _advance(self) -> None:
        """One turn: take over what is offered, apply in order, remove what left. Ends early when woken."""
        if self._offered is not None:
            await self._take_over(*self._offered)
        await self._follow_namespaces()
        await self._enforcer.changed()
        for rank in range(LAST_RANK + 1):
            if not await self._enforcer.apply(rank, self._wake):
                return
        going = self._holding.going(namespaces_known=self._namespaces.synced)
        for rank in range(LAST_RANK, -1, -1):
            if not await self._enforcer.remove((ref for ref in going if ref.rank == rank), self._wake):
                return
        await self._strike()

    async def _strike(self) -> None:
        left, self._enforcer.left = self._enforcer.left, set()
        try:
            if left:
                await self._holding.strike(left)
        except KubeError:
            self._enforcer.left |= left
            raise

    async def _take_over(self, head: StateHead, parts: Mapping[str, bytes]) -> None:
        if judge(head, self.kept) in (Verdict.NEW, Verdict.SAME):
            try:
                await self._holding.take_over(head, parts, self._namespaces.spaces)
                log.info("desired state %d.%d: %d objects", *head.version, len(self._holding.index.plain))
            except PartError as error:
                log.error("desired state %d.%d: %s", *head.version, error)  # noqa: TRY400
        if self._offered is not None and self._offered[0] is head:
            self._offered = None
        self._news.set()
        self._changed()

    async def _follow_namespaces(self) -> None:
        if not self._holding.index.templates:
            await self._namespaces.close()
            self._moves_known = False
            self._mover.want(())
        else:
            self._namespaces.start()
            if not self._namespaces.synced:
                return
        if await self._holding.instantiate(self._namespaces.spaces) or not self._moves_known:
            self._moves_known = True
            self._news.set()
        self._mover.want(moves_of(self._holding.index.templates.values(), self._namespaces.spaces))

    async def _resync(self) -> None:
        """Applies everything again now and then, and puts back what was taken out of the ledger."""
        while True:
            await asyncio.sleep(self._every)
            with contextlib.suppress(KubeError):
                if not await self._ledger.verify():
                    await self._holding.strike(())
            self._enforcer.again()

    # telling

    def _complain(self, trouble: str) -> None:
        """Nothing can be read or kept: said once, here and to the server."""
        if trouble == self._trouble:
            return
        self._trouble = trouble
        log.error("the desired state is not applied: %s", trouble)
        self._send(self._outcome())

    def _recovered(self) -> None:
        if self._trouble:
            self._trouble = ""
            self._news.set()

    async def _tell(self) -> None:
        while True:
            await self._news.wait()
            await asyncio.sleep(self._report_every)
            self._news.clear()
            if self.kept.hash:
                self._send(self._outcome())

    def _outcome(self) -> StateReport:
        holding, enforcer = self._holding, self._enforcer
        problems = [*holding.index.problems, ("", holding.refusal), ("", self._trouble)]
        summary = summarise(
            holding.wanted(), enforcer.tracks, enforcer.leaving, [one for one in problems if one[1]]
        )
        known = self._moves_known or not holding.index.templates
        summary.add_moves(self._mover.outcome, known=known)
        return StateReport(
            epoch=self.kept.epoch,
            counter=self.kept.counter,
            hash=self.kept.hash,
            term=self._term,
            applied=summary.applied,
            failed=summary.failed,
            pending=summary.pending,
            pruned=enforcer.pruned,
            failures=summary.failures,
            owners=summary.owners,
            shares=shares_of(holding.index.templates, holding.made),
            leaving=still_leaving(holding.index.templates.values(), self._namespaces.spaces, known=known),
            image=self._image,
            version=self._version,
        )

    def _send(self, report: StateReport) -> None:
        last = self.last
        if last is not None and report == msgspec.structs.replace(last, sequence=0):
            return
        self._sequence += 1
        self.last = msgspec.structs.replace(report, sequence=self._sequence)
        known = last.failures if last is not None else []
        for failure in [one for one in report.failures if one not in known][:_LOGGED]:
            log.warning("%s %s: %s", failure.kind, failure.name, failure.message)
        self._report(self.last)
