"""The node as its tests see it: starts it, enters its network, ends it without a trace."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.pods import cgroups, needs

_ROOT = Path(__file__).resolve().parents[3]
_START = 240.0


class NodeFailedError(RuntimeError):
    """The node did not come up; the text shows the end of its log."""


class RunningNode:
    """A node of its own, from construction to ``stop``."""

    def __init__(self, folder: Path, binary: Path, images: Sequence[Path]) -> None:
        self.folder = folder
        cgroups.sweep()
        self._cgroup = cgroups.create()
        self._log = folder / "node.log"
        self._process = self._spawn()
        try:
            self._facts = self._started(binary, images)
        except BaseException:
            self.stop()
            raise

    @property
    def kubeconfig(self) -> Path:
        """The administrator's, straight to the API server; it works inside the node's network only."""
        return Path(self._facts["kubeconfig"])

    @property
    def pid(self) -> int:
        """A process in the node's namespaces, seen from outside."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0])

    def inside(self, *command: str | Path) -> list[str]:
        """The command, run in the node's network; files and processes stay this machine's."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--", *map(str, command)]

    def in_all(self, *command: str | Path) -> list[str]:
        """The command, run in all of the node's namespaces."""
        return ["nsenter", "--target", str(self.pid), "--net", "--mount", "--pid", "--", *map(str, command)]

    def load(self, image: Path) -> None:
        """Loads an image from its tar file."""
        command = self.in_all("ctr", "--namespace", "k8s.io", "images", "import", image)
        subprocess.run(command, check=True, capture_output=True, timeout=300)

    def stop(self) -> None:
        """Kills everything in the namespaces, waits for it, removes what is left on disk and in /sys."""
        self._process.kill()
        self._process.wait(60)
        if self._process.stdin:
            self._process.stdin.close()
        cgroups.remove(self._cgroup)
        for name in ("var-lib", "var-log", "kube/etcd"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def _spawn(self) -> subprocess.Popen[bytes]:
        # If this process is killed, the kernel kills `unshare`, and with it everything in the namespaces.
        dying = ("setpriv", "--pdeathsig", "KILL")
        program = (sys.executable, "-m", "tests.support.pods.inside")
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [*dying, *needs.NAMESPACES, *program],
                cwd=_ROOT,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )

    def _started(self, binary: Path, images: Sequence[Path]) -> dict[str, Any]:
        wanted = {
            "folder": str(self.folder),
            "binary": str(binary),
            "cgroup": self._cgroup,
            "images": [str(image) for image in images],
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(wanted).encode() + b"\n")
        self._process.stdin.flush()
        ready = self.folder / "ready.json"
        deadline = time.monotonic() + _START
        while not ready.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise NodeFailedError(f"the node did not come up; {self._log}:\n{self._tail()}")
            time.sleep(0.1)
        facts: dict[str, Any] = json.loads(ready.read_bytes())
        return facts

    def _tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-25:])
