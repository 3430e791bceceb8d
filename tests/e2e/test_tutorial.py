"""The tutorial does what it says: its commands are run as they stand, in one shell, one after the other.

Only what a reader's machine would bring is brought here: data folder and address by environment variables, a
cluster of the reader's own as ~/.kube/config, and in place of that cluster's nodes a process that runs the agent.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest

from outrider.kube import kubeconfig
from outrider.kube.client import Client
from outrider.kube.errors import NotFound
from outrider.kube.transport import HttpTransport
from outrider.server.demo import DemoCluster
from tests.e2e.conftest import until
from tests.support.hosted import drop_state
from tests.support.instance import environment

ROOT = Path(__file__).parents[2]
TEXT = ROOT / "docs" / "tutorials" / "first-cluster.md"
DEMO = "make demo"
START = ".venv/bin/outrider up --demo 2 --ready-file ready.json"


def blocks() -> list[str]:
    """The tutorial's command blocks in their order."""
    return [
        block.strip() for block in re.findall(r"^```\n(.*?)^```$", TEXT.read_text(), re.DOTALL | re.MULTILINE)
    ]


def test_it_begins_as_this_test_does() -> None:
    assert blocks()[:2] == [DEMO, START]
    assert (
        "outrider up --demo 2"
        in re.findall(r"^demo:.*\n\t(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0]
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder in which a reader could sit."""
    venv = Path(sys.executable).parents[1]
    folder = tmp_path / "c"
    folder.mkdir()
    (folder / ".venv").symlink_to(venv)
    return folder


async def test_its_commands_work(kube_binary: Path, checkout: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    environ = environment() | {
        "HOME": str(home),
        "OUTRIDER_KUBE": str(kube_binary),
        "OUTRIDER_DATA": str(checkout / "d"),
        "OUTRIDER_LISTEN": "127.0.0.1:0",
    }
    with (tmp_path / "up.log").open("wb") as log:
        up = await asyncio.create_subprocess_shell(
            f"exec {START}", cwd=checkout, env=environ, stdout=log, stderr=log, start_new_session=True
        )
        mine = DemoCluster(tmp_path / "m", 1)
        try:
            await mine.start()
            (home / ".kube").mkdir(parents=True)
            shutil.copy(mine.kubeconfig(), home / ".kube" / "config")
            await asyncio.to_thread(until, (checkout / "ready.json").exists, 60, "outrider up is not ready")
            nodes = asyncio.create_task(run_the_agent(mine))
            try:
                await follow(checkout, environ)
            finally:
                nodes.cancel()
                await asyncio.gather(nodes, return_exceptions=True)
        finally:
            await mine.stop()
            with contextlib.suppress(ProcessLookupError):
                up.send_signal(signal.SIGINT)
            code = await up.wait()
            for folder in (checkout / "d" / "management", *tmp_path.glob("**/kube")):
                drop_state(folder)
    assert code == 0, (tmp_path / "up.log").read_text()


async def run_the_agent(cluster: DemoCluster) -> None:
    """Does what a node would do with the manifest's Deployment, once it is applied."""
    transport = HttpTransport(kubeconfig.load(cluster.kubeconfig()))
    try:
        while True:
            try:
                return await cluster.start_agent(Client(transport))
            except NotFound:
                await asyncio.sleep(0.2)
    finally:
        await transport.close()


async def follow(checkout: Path, environ: dict[str, str]) -> None:
    """Runs every block after the first two; the first that fails ends it."""
    script = "\n".join(f"echo '### {number}'\n{block}" for number, block in enumerate(blocks()[2:], 3))
    shell = await asyncio.create_subprocess_exec(
        "bash",
        *("-euo", "pipefail"),
        cwd=checkout,
        env=environ,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    (checkout / "script.sh").write_text(script)
    output, _ = await shell.communicate(b". ./script.sh\n")
    said = output.decode()
    assert shell.returncode == 0, said
    assert "from: outrider" in said
    assert re.search(r"^c-mine1 .*active", said, re.MULTILINE | re.IGNORECASE), said
    assert "cattle-impersonation-user-" in said
