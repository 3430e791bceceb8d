"""Applies the desired state, keeps it applied, and prunes what left it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from outrider.agent.errors import StateError
from outrider.agent.ledger import NAME, NAMESPACE, Ledger
from outrider.agent.plan import LABEL, Plan, Record, Ref, failure, is_older, make_plan, merged, ref_of
from outrider.delivery.discovery import Discovery
from outrider.kube.client import Client
from outrider.kube.errors import ApiError, Conflict, KubeError, NotFound
from outrider.tunnel.reports import DesiredState, Failure, StateReport

log = logging.getLogger(__name__)

_MAX_FAILURES: Final = 100


class StateApplier:
    """Holds the newest desired state and makes the cluster agree with it.

    `report` is called with the outcome when it changed. Objects are applied again every `every` seconds, and
    after `retry` seconds while some of them fail.
    """

    def __init__(
        self,
        client: Client,
        report: Callable[[StateReport], None],
        *,
        every: float = 180.0,
        retry: float = 10.0,
    ) -> None:
        self._client = client
        self._discovery = Discovery(client)
        self._ledger = Ledger(client)
        self._report = report
        self._every = every
        self._retry = retry
        self._record: Record | None = None
        self._state: DesiredState | None = None
        self._offered: DesiredState | None = None
        self._wake = asyncio.Event()
        self._trouble = ""
        self.last: StateReport | None = None

    def offer(self, state: DesiredState) -> None:
        """The server wants this; an older state than was offered or applied is refused."""
        newest = self._offered
        if newest is not None and (state.epoch, state.counter) < (newest.epoch, newest.counter):
            log.warning("refused desired state %d.%d: older than what is known", state.epoch, state.counter)
            return
        self._offered = state
        self._wake.set()

    async def run(self) -> None:
        """Applies forever. Only one replica may: what is kept in memory is read again at the start."""
        self._record = None
        while True:
            self._wake.clear()
            try:
                done = await self.enforce()
            except (StateError, KubeError) as error:
                self._complain(str(error))
                done = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every if done else self._retry):
                    await self._wake.wait()

    async def enforce(self) -> bool:
        """Applies the newest state once; returns whether nothing failed. Raises StateError."""
        record = await self._known()
        state = self._choose(record)
        if state is None:
            return True
        plan = make_plan(state, record)
        self._record = await self._keep(state, merged(record, map(ref_of, plan.apply)), record)
        unapplied = await self._apply(plan)
        kept, unpruned = await self._prune(plan.prune)
        gone = set(plan.prune) - set(kept)
        self._record = await self._keep(
            state, tuple(ref for ref in self._record.refs if ref not in gone), self._record
        )
        failures = [*plan.failures, *unapplied, *unpruned]
        self._trouble = ""
        self._tell(
            StateReport(
                epoch=state.epoch,
                counter=state.counter,
                applied=len(plan.apply) - len(unapplied),
                pruned=len(gone),
                failures=failures[:_MAX_FAILURES],
            )
        )
        return not failures

    async def _known(self) -> Record:
        if self._record is None:
            self._record, kept = await self._ledger.read()
            self._state = kept or self._state
            if self._state is not None and is_older(self._state, self._record):
                self._state = None  # another replica has applied more than this one ever saw
        return self._record

    def _choose(self, record: Record) -> DesiredState | None:
        """The state to enforce: what was offered, unless something newer was applied before a restart."""
        offered, self._offered = self._offered, None
        if offered is not None and is_older(offered, record):
            log.warning(
                "refused desired state %d.%d: %d.%d was applied",
                offered.epoch,
                offered.counter,
                record.epoch,
                record.counter,
            )
        elif offered is not None:
            self._state = offered
        return self._state

    async def _keep(self, state: DesiredState, refs: tuple[Ref, ...], before: Record) -> Record:
        """Writes the record when it differs. Before an apply it names all that may come to exist."""
        record = Record(epoch=state.epoch, counter=state.counter, refs=refs)
        if record != before:
            await self._ledger.write(record, state)
        return record

    async def _apply(self, plan: Plan) -> list[Failure]:
        failures: list[Failure] = []
        for obj in plan.apply:
            ref = ref_of(obj)
            try:
                kind = await self._discovery.kind(ref.api_version, ref.kind)
                await self._client.apply(kind, obj)
            except (KubeError, ValueError) as error:
                failures.append(failure(ref, _words(ref, error)))
        return failures

    async def _prune(self, refs: Sequence[Ref]) -> tuple[list[Ref], list[Failure]]:
        """Deletes; returns what is still there and why."""
        kept: list[Ref] = []
        failures: list[Failure] = []
        for ref in refs:
            try:
                await self._delete(ref)
            except (KubeError, ValueError) as error:
                kept.append(ref)
                failures.append(failure(ref, f"not deleted: {_words(ref, error)}"))
        return kept, failures

    async def _delete(self, ref: Ref) -> None:
        """Deletes an object if it is still ours; one that lost our label was taken over by somebody."""
        try:
            kind = await self._discovery.kind(ref.api_version, ref.kind)
            found = await self._client.get(kind, ref.name, ref.namespace)
            if not _is_ours(found):
                log.info("%s %s lost its label; it stays", ref.kind, ref.name)
                return
            await self._client.delete(kind, ref.name, ref.namespace, uid=found["metadata"]["uid"])
        except (NotFound, Conflict):
            return  # gone, or another one of that name by now

    def _complain(self, trouble: str) -> None:
        """Nothing can be applied at all: said once, here and to the server."""
        if trouble == self._trouble:
            return
        self._trouble = trouble
        log.error("the desired state is not applied: %s", trouble)
        wanted = self._offered or self._state
        if wanted is not None:
            record = failure(Ref("v1", "Secret", NAMESPACE, NAME), trouble)
            self._tell(StateReport(epoch=wanted.epoch, counter=wanted.counter, failures=[record]))

    def _tell(self, report: StateReport) -> None:
        last, self.last = self.last, report
        # a repeated round that changed nothing is no news
        if last is None or report.pruned or report != msgspec.structs.replace(last, pruned=0):
            self._report(report)


def _words(ref: Ref, error: Exception) -> str:
    """The error for a report; an API server may quote what it refuses, and that must be no secret."""
    if ref.kind == "Secret" and isinstance(error, ApiError):
        return f"the API server answered {error.code} {error.reason}"
    return str(error)


def _is_ours(obj: dict[str, Any]) -> bool:
    return (obj["metadata"].get("labels") or {}).get(LABEL) == "true"
