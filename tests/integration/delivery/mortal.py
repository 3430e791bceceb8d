"""An applier as a process, to be killed: `python -m tests.integration.delivery.mortal KUBECONFIG NAMESPACE COUNTER`.

Prints a line when everything of its set was applied and nothing is left to do.
"""

from __future__ import annotations

import asyncio
import sys

from outrider.delivery.applier import StateApplier
from outrider.delivery.assembly import assemble
from outrider.delivery.entries import Entry
from outrider.delivery.parts import compress
from outrider.delivery.presence import MANAGER
from outrider.kube.client import Client
from outrider.kube.kubeconfig import load
from outrider.kube.transport import HttpTransport
from outrider.tunnel.reports import StateReport

COUNT = 120


def entries(namespace: str, counter: int) -> list[Entry]:
    """Each set shares two thirds with the one before; values tell the set."""
    return [
        Entry(
            owner="tests",
            object={
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": f"o{number}", "namespace": namespace},
                "data": {"k": str(counter), "fill": str(number) * 500},
            },
        )
        for number in range(counter * COUNT // 3, counter * COUNT // 3 + COUNT)
    ]


async def run(kubeconfig: str, namespace: str, counter: int) -> None:
    def told(report: StateReport) -> None:
        if report.counter == counter and not report.pending and not report.failed:
            print(f"applied {report.applied}", flush=True)

    def offer() -> None:
        made = assemble(entries(namespace, counter))
        if applier.active and applier.kept.hash != made.hash:
            applier.offer(made.head(1, counter), {d: compress(part) for d, part in made.parts.items()})

    client = Client(HttpTransport(load(kubeconfig), max_connections=8), field_manager=MANAGER)
    applier = StateApplier(client, told, changed=offer, retry=0.2, report_every=0.1)
    await applier.run(counter)


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], sys.argv[2], int(sys.argv[3])))
