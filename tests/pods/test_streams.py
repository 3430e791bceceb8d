"""Long and large streams through one tunnel: whole, at the same time, and none in the way of another."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from outrider.kube import kubeconfig
from outrider.kube.builtin import CONFIGMAPS, NAMESPACES
from outrider.kube.client import Client
from outrider.kube.transport import HttpTransport, Request
from tests.support.imported import Imported
from tests.support.instance import Instance
from tests.support.kubectl import Kubectl
from tests.support.memory import Peak
from tests.support.pods.enter import run_inside
from tests.support.pods.node import RunningNode
from tests.support.terminal import Terminal

MakePod = Callable[..., str]
MB = 1 << 20
WATCHES = 200
SLOW = 4
LINES, WIDTH = 24_000, 1000
"""24 MB: more than the credit of a stream and all socket buffers on its way hold."""


@pytest.fixture(scope="module")
def blob() -> bytes:
    return os.urandom(100 * MB)


@pytest.fixture
def namespace(direct: Kubectl) -> Iterator[str]:
    name = f"t-{uuid4().hex[:8]}"
    direct("create", "namespace", name)
    yield name
    direct("delete", "namespace", name, "--wait=false")


def test_100_mb_there_and_back(kubectl: Kubectl, shell: str, blob: bytes, outrider: Instance) -> None:
    peak = Peak(outrider.pid("gateway"))
    expected = hashlib.sha256(blob).hexdigest()
    place = f"/tmp/{uuid4().hex}"
    said = run(kubectl, "exec", "-i", shell, "--", "sh", "-c", f"cat >{place}; sha256sum {place}", given=blob)
    assert said.split()[0].decode() == expected
    assert hashlib.sha256(run(kubectl, "exec", shell, "--", "cat", place)).hexdigest() == expected
    kubectl("exec", shell, "--", "rm", place)
    assert peak.growth < 24


def test_100_mb_both_ways_at_once(kubectl: Kubectl, shell: str, blob: bytes) -> None:
    """What is sent comes back, and the end of the one is the end of the other."""
    back = run(kubectl, "exec", "--stdin", shell, "--", "cat", given=blob)
    assert len(back) == len(blob)
    assert hashlib.sha256(back).digest() == hashlib.sha256(blob).digest()


def run(kubectl: Kubectl, *arguments: str, given: bytes = b"") -> bytes:
    """What kubectl prints, as bytes."""
    command = kubectl.command(*arguments)
    done = subprocess.run(
        command, input=given, env=kubectl.environment(), capture_output=True, timeout=150, check=False
    )
    assert (done.returncode, done.stderr[-500:]) == (0, b"")
    return done.stdout


def test_slow_readers_hold_up_nobody(
    make_pod: MakePod, imported: Imported, node: RunningNode, direct: Kubectl, outrider: Instance
) -> None:
    printing = f"awk 'BEGIN {{ for (i = 1; i <= {LINES}; i++) printf \"%0{WIDTH}d\\n\", i }}'"
    name = make_pod(command=("sh", "-c", f"{printing}; echo end >/tmp/end; sleep 1000"))
    direct("exec", name, "--", "sh", "-c", "until [ -e /tmp/end ]; do sleep 0.1; done")
    path = f"/api/v1/namespaces/default/pods/{name}/log"
    text = "".join(f"{number:0{WIDTH}}\n" for number in range(1, LINES + 1))
    expected = hashlib.sha256(text.encode()).hexdigest()
    peak = Peak(outrider.pid("gateway"))

    async def read(transport: HttpTransport, pause: asyncio.Event | None = None) -> str:
        digest = hashlib.sha256()
        request = Request(method="GET", path=path, headers=[], body=b"")
        async with transport.stream(request, timeout=120) as response:
            assert response.status == 200
            async for chunk in response:
                digest.update(chunk)
                if pause:
                    await pause.wait()
        return digest.hexdigest()

    async def work() -> tuple[float, list[str]]:
        transport = HttpTransport(kubeconfig.load(imported.kubeconfig))
        go_on = asyncio.Event()
        slow = [asyncio.create_task(read(transport, go_on)) for _ in range(SLOW)]
        try:
            client = Client(transport)
            await asyncio.sleep(2)
            began = time.monotonic()
            for _ in range(50):
                await client.get(NAMESPACES, "default")
            fast = await read(transport)
            taken = time.monotonic() - began
            go_on.set()
            return taken, [fast, *await asyncio.gather(*slow)]
        finally:
            for task in slow:
                task.cancel()
            await asyncio.gather(*slow, return_exceptions=True)
            await transport.close()

    taken, digests = run_inside(node, work)
    assert digests == [expected] * (SLOW + 1)
    assert taken < 30
    assert peak.growth < 24 + SLOW * 8


def test_many_watches_on_one_tunnel(
    imported: Imported, node: RunningNode, direct: Kubectl, namespace: str
) -> None:
    """All see the same changes, in order, while requests beside them are answered."""
    changes = 10

    async def follow(client: Client, version: str, started: list[None]) -> list[str]:
        seen: list[str] = []
        started.append(None)
        async for event in client.watch(CONFIGMAPS, namespace, resource_version=version, timeout=120):
            if event.type == "ADDED" and event.object and event.object["metadata"]["name"].startswith("c-"):
                seen.append(event.object["metadata"]["name"])
                if len(seen) == changes:
                    break
        return seen

    async def work() -> list[list[str]]:
        async with AsyncExitStack() as stack:
            transport = HttpTransport(kubeconfig.load(imported.kubeconfig))
            stack.push_async_callback(transport.close)
            client = Client(transport)
            version = (await client.list(CONFIGMAPS, namespace)).resource_version
            started: list[None] = []
            watches = [asyncio.create_task(follow(client, version, started)) for _ in range(WATCHES)]
            while len(started) < WATCHES:
                await asyncio.sleep(0.01)
            for number in range(changes):
                name = f"c-{number}"
                draft = {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": name, "namespace": namespace},
                }
                await client.create(CONFIGMAPS, draft)
            async with asyncio.timeout(100):
                return await asyncio.gather(*watches)

    assert run_inside(node, work) == [[f"c-{number}" for number in range(changes)]] * WATCHES


@pytest.mark.long
@pytest.mark.timeout(900)
def test_ten_minutes_of_silence(
    imported: Imported, new_kubectl: Path, old_kubectl: Path, shell: str, namespace: str, direct: Kubectl
) -> None:
    """Watches and shells in which nothing happens for ten minutes are there when something does."""
    with ExitStack() as stack:
        watches, shells = [], []
        for program in (new_kubectl, old_kubectl):
            kubectl = Kubectl(program, imported.kubeconfig, direct.home, direct.within)
            watching = kubectl.background("get", "configmaps", "--watch", "--namespace", namespace)
            watches.append(stack.enter_context(watching))
            command = kubectl.command("exec", "--stdin", "--tty", shell, "--", "sh")
            shells.append(stack.enter_context(Terminal(command, kubectl.environment())))
            shells[-1].expect("# ")
        direct("--namespace", namespace, "create", "configmap", "before")
        for watching in watches:
            watching.line("before")
        time.sleep(600)
        direct("--namespace", namespace, "create", "configmap", "after")
        for watching in watches:
            watching.line("after", seconds=5)
        for terminal in shells:
            terminal.type("echo still''here; exit 0\n")
            terminal.expect("stillhere", seconds=5)
            assert terminal.ended() == 0
