"""An applier on a real API server, and what it takes to look at it from the outside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from outrider.delivery.applier import StateApplier
from outrider.delivery.assembly import assemble
from outrider.delivery.entries import Entry
from outrider.delivery.ledger import LABEL, NAMESPACE
from outrider.delivery.parts import compress
from outrider.delivery.presence import MANAGER
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.builtin import NAMESPACES, SECRETS
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.transport import HttpTransport
from outrider.tunnel.reports import StateReport


async def until(condition: Callable[[], Any], seconds: float = 15.0) -> None:
    """Wait until it holds; a coroutine function is awaited."""
    async with asyncio.timeout(seconds):
        while True:
            held = condition()
            if isinstance(held, Awaitable):
                held = await held
            if held:
                return
            await asyncio.sleep(0.02)


def config(name: str, namespace: str = "", **data: str) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def entry(obj: dict[str, Any], owner: str = "tests", **fields: Any) -> Entry:
    return Entry(owner=owner, object=obj, **fields)


class Running:
    """An applier that runs, and what it reported."""

    def __init__(self, client: Client, term: int = 1, **options: Any) -> None:
        self.reports: list[StateReport] = []
        options = {"retry": 0.3, "report_every": 0.05, **options}
        self.applier = StateApplier(client, self.reports.append, **options)
        self.task = asyncio.create_task(self.applier.run(term))

    def offer(self, counter: int, *entries: Entry, epoch: int = 1, complete: bool = True) -> str:
        wanted = assemble(entries, complete=complete)
        parts = {digest: compress(part) for digest, part in wanted.parts.items()}
        self.applier.offer(wanted.head(epoch, counter), parts)
        return wanted.hash

    async def apply(self, counter: int, *entries: Entry, **options: Any) -> StateReport:
        """Offer a set and wait until everything of it was tried."""
        await until(lambda: self.applier.active)
        wanted = self.offer(counter, *entries, **options)
        await until(lambda: self.reports and self.reports[-1].hash == wanted and not self.reports[-1].pending)
        return self.reports[-1]

    async def stop(self) -> None:
        await cancel_and_wait(self.task)


async def wipe(client: Client) -> None:
    for secret in (await client.list(SECRETS, NAMESPACE, labels=f"{LABEL}=true")).items:
        await client.delete_if_exists(SECRETS, secret["metadata"]["name"], NAMESPACE)


@pytest.fixture
async def downstream(api_server: EmbeddedCluster) -> AsyncIterator[Client]:
    """A client of an applier; nothing is kept from the test before."""
    transport = HttpTransport(api_server.access, max_connections=8)
    client = Client(transport, field_manager=MANAGER, max_retries=2)
    await client.apply(NAMESPACES, {"metadata": {"name": NAMESPACE}})
    await wipe(client)
    yield client
    await wipe(client)
    await transport.close()


@pytest.fixture
async def start(downstream: Client) -> AsyncIterator[Callable[..., Running]]:
    """Starts appliers; they are stopped in the end."""
    running: list[Running] = []

    def begin(**options: Any) -> Running:
        running.append(Running(downstream, term=len(running) + 1, **options))
        return running[-1]

    yield begin
    for one in running:
        await one.stop()
