"""Takes away what an applier made and remembers, once nothing is wanted in the cluster any more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from outrider.delivery.entries import LAST_RANK, Ref
from outrider.delivery.errors import LedgerError
from outrider.delivery.hand import Hand, words
from outrider.delivery.holding import Holding
from outrider.delivery.index import Extra
from outrider.delivery.ledger import Ledger
from outrider.delivery.presence import MANAGER
from outrider.kube.client import Client
from outrider.kube.errors import KubeError

log = logging.getLogger(__name__)


class Withdrawal:
    """Works from the ledger, which it leaves as it is: whoever comes after a crash finds all names again.

    No applier may run beside it, or it would heal what is taken away. `client` must be of the field manager
    `manager`; `workers` objects are removed at a time.
    """

    def __init__(self, client: Client, *, manager: str = MANAGER, workers: int = 8) -> None:
        self._client = client
        self._hand = Hand(client, manager=manager)
        self._workers = workers

    async def made(self) -> dict[Ref, Extra]:
        """Everything that may exist because of a desired state. Raises KubeError."""
        holding = Holding(Ledger(self._client))
        try:
            await holding.read()
        except LedgerError as error:
            log.error("%s: what only it names is not removed", error)  # noqa: TRY400
            return {}
        wanted = {ref: Extra(want.api_version, want.release) for ref, want in holding.wanted()}
        return {**holding.inventory.held, **holding.inventory.extra, **wanted}

    async def remove(
        self, going: Mapping[Ref, Extra], progress: Callable[[int], None] = lambda left: None
    ) -> dict[Ref, str]:
        """Try each once, namespaces last; returns what could not be removed, and why.

        `progress` is told how many are still to be tried.
        """
        failures: dict[Ref, str] = {}
        left = len(going)
        slots = asyncio.Semaphore(self._workers)

        async def one(ref: Ref) -> None:
            nonlocal left
            async with slots:
                try:
                    await self._hand.remove(ref, going[ref])
                except (KubeError, ValueError) as error:
                    failures[ref] = words(ref, error)
                left -= 1
                progress(left + len(failures))

        for rank in range(LAST_RANK, -1, -1):
            async with asyncio.TaskGroup() as group:
                for ref in sorted(going):
                    if ref.rank == rank:
                        group.create_task(one(ref))
        return failures
