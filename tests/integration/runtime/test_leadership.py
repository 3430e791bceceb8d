"""Leader election between real processes on a real API server."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from outrider.kit.tasks import cancel_and_wait
from outrider.kube.builtin import LEASES
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.runtime.leader import Durations, LeaderElector

DURATIONS = Durations(lease=3, renew_deadline=2, retry=0.3)

CANDIDATE = """
import asyncio, signal, sys
from outrider.kube.client import Client
from outrider.kube.kubeconfig import load
from outrider.kube.transport import HttpTransport
from outrider.runtime.leader import Durations, LeaderElector

async def main(kubeconfig, namespace, name):
    transport = HttpTransport(load(kubeconfig))
    elector = LeaderElector(Client(transport), "lease", namespace, name, durations=Durations(3, 2, 0.3))

    async def lead():
        print("leads", elector.epoch, flush=True)
        await asyncio.Event().wait()

    task = asyncio.create_task(elector.run(lead))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        print("stopped", flush=True)
    await transport.close()

asyncio.run(main(*sys.argv[1:]))
"""


@asynccontextmanager
async def candidate(kubeconfig: Path, namespace: str, name: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CANDIDATE, str(kubeconfig), namespace, name, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def said(process: asyncio.subprocess.Process) -> list[str]:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), 30)).decode().split()


async def test_a_process_that_is_killed_is_followed_and_one_that_stops_hands_over(
    api_server: EmbeddedCluster, admin: Client, namespace: str, tmp_path: Path
) -> None:
    config = api_server.kubeconfig(tmp_path / "kubeconfig")
    async with (
        candidate(config, namespace, "one") as one,
    ):
        verb, first = await said(one)
        assert verb == "leads"
        async with candidate(config, namespace, "two") as two:
            # Long enough for the second to look at the lease a few times.
            await asyncio.sleep(1)
            one.send_signal(signal.SIGKILL)
            killed = time.monotonic()
            _, second = await said(two)
            # Not before the lease that the dead one last renewed has run out.
            assert time.monotonic() - killed >= DURATIONS.lease - DURATIONS.retry - 0.1
            async with candidate(config, namespace, "three") as three:
                await asyncio.sleep(1)
                two.send_signal(signal.SIGTERM)
                stopped = time.monotonic()
                assert await said(two) == ["stopped"]
                _, third = await said(three)
                assert time.monotonic() - stopped < DURATIONS.lease - DURATIONS.retry
                assert int(first) < int(second) < int(third)
                lease = await admin.get(LEASES, "lease", namespace)
                assert lease["spec"]["holderIdentity"] == "three"
                assert lease["spec"]["leaseTransitions"] == int(third)


async def test_two_electors_in_a_hundred_handovers_never_lead_at_once(admin: Client, namespace: str) -> None:
    leading: set[str] = set()
    epochs: list[int] = []

    async def reign(name: str) -> None:
        elector: Any = LeaderElector(
            admin, "busy", namespace, name, durations=Durations(lease=2, renew_deadline=1.5, retry=0.01)
        )

        async def lead() -> None:
            assert not leading
            leading.add(name)
            epochs.append(elector.epoch)
            await asyncio.sleep(0.005)
            leading.discard(name)

        while len(epochs) < 100:
            await elector.run(lead)
            await asyncio.sleep(0.02)

    tasks = [asyncio.create_task(reign(name)) for name in ("one", "two", "three")]
    try:
        await asyncio.wait_for(asyncio.gather(*tasks), 60)
    finally:
        await cancel_and_wait(*tasks)
    assert epochs == sorted(set(epochs))
