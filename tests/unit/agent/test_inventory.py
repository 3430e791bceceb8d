"""How often the agent looks at its API server."""

from __future__ import annotations

import asyncio

from outrider.agent import mirror
from outrider.agent.inventory import Inventory
from outrider.agent.reporter import Reporter
from outrider.agent.usage import PODS
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.builtin import DAEMONSETS
from outrider.kube.client import Client
from outrider.kube.transport import Request, Response
from tests.support.fake_api import FakeApi


async def test_a_cluster_that_is_not_well_is_looked_at_more_often() -> None:
    """Otherwise its recovery would be news a whole interval later."""
    api = FakeApi(mirror.NODES, mirror.NAMESPACES, PODS, DAEMONSETS)
    statuses = iter([200, 500, 500, 200, 200])
    pauses: list[float] = []
    over = asyncio.Event()

    def interfere(request: Request) -> Response | None:
        if request.path.startswith("/readyz"):
            return Response(status=next(statuses, 200), headers={}, body=b"")
        return Response(status=200, headers={}, body=b"{}") if request.path == "/version" else None

    async def sleep(seconds: float) -> None:
        if seconds in {15.0, 2.0}:
            pauses.append(seconds)
        if len(pauses) == 5:
            over.set()
        await asyncio.sleep(0 if len(pauses) < 5 else 60)

    api.interfere = interfere
    inventory = Inventory(Client(api), Reporter("r"), report_after=1.0, poll_every=15.0, sleep=sleep)
    task = asyncio.create_task(inventory.run())
    async with asyncio.timeout(5):
        await over.wait()
    await cancel_and_wait(task)
    assert pauses == [15.0, 2.0, 2.0, 15.0, 15.0]
