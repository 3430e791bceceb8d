"""The node bench itself: whatever ends a test run, nothing of the node stays on the machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import until
from tests.support.pods import cgroups
from tests.support.pods.node import RunningNode
from tools.image.build import Builder
from tools.setup.places import checkout

PROGRAM = """
import sys
from pathlib import Path
from tests.support.pods.node import RunningNode
folder, binary, *images = map(Path, sys.argv[1:])
node = RunningNode(folder, binary, images)
print(node.pid, flush=True)
sys.stdin.read()
"""


def machine() -> dict[str, object]:
    """What a node must leave as it was."""
    links = {path.name for path in Path("/sys/class/net").iterdir()}
    settings = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward")
    return {
        "links": links,
        "routes": Path("/proc/net/route").read_text(),
        "mounts": len(Path("/proc/self/mountinfo").read_text().splitlines()),
        "settings": {name: Path("/proc/sys", name).read_text() for name in settings},
    }


def of_node(folder: Path) -> list[str]:
    """Processes that name the node's folder, or one of containerd's shims in a namespace of pods."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line and str(os.getpid()) != path.parent.name:
            found.append(line)
    return found


def test_a_running_node_leaves_the_machine_alone(node: RunningNode) -> None:
    seen = machine()
    assert "pods0" not in seen["links"]
    inside = subprocess.run(
        node.inside("ip", "-o", "link"), capture_output=True, text=True, check=True
    ).stdout
    assert "pods0" in inside


def test_nothing_stays_of_a_node_whose_test_run_is_killed(
    kube_binary: Path, images: Builder, tmp_path: Path
) -> None:
    before = machine()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path), str(kube_binary), str(images.pause())],
        cwd=checkout().root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as run:
        assert run.stdout is not None
        first = int(run.stdout.readline())
        assert Path(f"/proc/{first}").exists()
        run.send_signal(signal.SIGKILL)
    until(lambda: not Path(f"/proc/{first}").exists())
    until(lambda: not of_node(tmp_path))
    assert machine() == before
    # Control groups have no owner that takes them down: the next node does it.
    assert left_by(run.pid)
    until(lambda: swept(run.pid))


def swept(owner: int) -> bool:
    cgroups.sweep()
    return not left_by(owner)


def left_by(owner: int) -> list[Path]:
    return [path for root in cgroups.roots() for path in root.glob(f"{cgroups.PREFIX}{owner}-*")]


def test_a_node_that_does_not_come_up_says_why(images: Builder, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"the node did not come up; .*node\.log:\n(.|\n)*nowhere"):
        RunningNode(tmp_path, Path("/nowhere/outrider-kube"), [images.pause()])
    assert not of_node(tmp_path)
