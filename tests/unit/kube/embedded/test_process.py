"""Supervision, on small shell commands in the place of Kubernetes."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import uvloop

from outrider.kube.embedded import leftovers
from outrider.kube.embedded.commands import Command
from outrider.kube.embedded.process import Policy, ProcessFailedError, SupervisedProcess

QUICK = Policy(
    ready_poll=0.01, live_interval=0.02, live_timeout=1.0, restart_delay=0.01, stop_grace=0.3, live_failures=3
)


class Answers:
    """A probe that says what the test tells it to."""

    def __init__(self, *, ready: bool = True, live: bool = True) -> None:
        self.is_ready = ready
        self.is_live = live

    async def listening(self, timeout: float) -> bool:
        return self.is_ready

    async def ready(self, timeout: float) -> bool:
        return self.is_ready

    async def live(self, timeout: float) -> bool:
        return self.is_live


def supervised(
    folder: Path, script: str, probe: Answers | None = None, policy: Policy = QUICK
) -> SupervisedProcess:
    command = Command("worker", ("/bin/sh", "-c", script), {"PATH": os.environ["PATH"]})
    return SupervisedProcess(
        command, log=folder / "worker.log", pid_file=folder / "worker.pid", probe=probe, policy=policy
    )


async def until(condition, seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def gone(pid: int) -> bool:
    return not leftovers.start_time(pid)


async def test_ready_then_stopped_leaves_nothing(tmp_path: Path) -> None:
    process = supervised(tmp_path, "echo hello; exec sleep 60", Answers())
    process.start()
    await process.wait_ready(5)
    pid = process.pid
    assert (tmp_path / "worker.pid").read_text().split()[0] == str(pid)
    assert os.getpgid(pid) == pid
    await process.stop()
    assert gone(pid)
    assert process.pid is None
    assert not (tmp_path / "worker.pid").exists()
    assert (tmp_path / "worker.log").read_text() == "hello\n"
    assert (tmp_path / "worker.log").stat().st_mode & 0o777 == 0o600


async def test_a_killed_child_comes_back(tmp_path: Path) -> None:
    process = supervised(tmp_path, "exec sleep 60")
    process.start()
    first = process.pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: process.pid not in (None, first))
    assert process.restarts == 1
    assert (tmp_path / "worker.pid").read_text().split()[0] == str(process.pid)
    await process.stop()


async def test_a_child_that_keeps_ending_is_started_ever_more_slowly(tmp_path: Path) -> None:
    policy = Policy(restart_delay=0.05, restart_delay_max=60.0)
    process = supervised(tmp_path, "echo run", policy=policy)
    process.start()
    await asyncio.sleep(1.0)
    await process.stop()
    # 0.05 + 0.1 + 0.2 + 0.4 s, each at least halved by jitter at most: a handful, not hundreds.
    assert 3 <= (tmp_path / "worker.log").read_text().count("run") <= 7


async def test_a_child_that_ends_while_starting_is_told_with_its_log(tmp_path: Path) -> None:
    process = supervised(tmp_path, "echo 'flag unknown' >&2; exit 3", Answers(ready=False))
    process.start()
    with pytest.raises(
        ProcessFailedError, match=r"(?s)worker ended with code 3 while starting; .*flag unknown"
    ):
        await process.wait_ready(5)
    await process.stop()


async def test_a_child_that_never_gets_ready_is_told(tmp_path: Path) -> None:
    process = supervised(tmp_path, "exec sleep 60", Answers(ready=False))
    process.start()
    with pytest.raises(ProcessFailedError, match=r"was not ready within 0\.1 seconds"):
        await process.wait_ready(0.1)
    await process.stop()


async def test_a_child_that_never_listens_is_told(tmp_path: Path) -> None:
    process = supervised(tmp_path, "exec sleep 60", Answers(ready=False))
    process.start()
    with pytest.raises(ProcessFailedError, match=r"did not listen within 0\.1 seconds"):
        await process.wait_listening(0.1)
    await process.stop()


async def test_a_silent_child_is_replaced_once_it_had_answered(tmp_path: Path) -> None:
    probe = Answers()
    process = supervised(tmp_path, "exec sleep 60", probe)
    process.start()
    first = process.pid
    await asyncio.sleep(0.1)
    assert process.pid == first
    probe.is_live = False
    await until(lambda: process.pid not in (None, first))
    await process.stop()


async def test_a_child_that_is_still_starting_may_be_silent(tmp_path: Path) -> None:
    process = supervised(tmp_path, "exec sleep 60", Answers(live=False))
    process.start()
    await asyncio.sleep(0.3)
    assert process.restarts == 0
    await process.stop()


async def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    process = supervised(tmp_path, "trap '' TERM; echo deaf; while :; do sleep 0.05; done")
    process.start()
    await until(lambda: "deaf" in (tmp_path / "worker.log").read_text())
    pid = process.pid
    async with asyncio.timeout(5):
        await process.stop()
    assert gone(pid)


async def test_the_childs_own_children_are_stopped_with_it(tmp_path: Path) -> None:
    process = supervised(tmp_path, "sleep 61 & echo $!; wait")
    process.start()
    await until(lambda: (tmp_path / "worker.log").read_text().strip())
    grandchild = int((tmp_path / "worker.log").read_text())
    await process.stop()
    await until(lambda: gone(grandchild))


async def test_the_environment_is_not_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    process = supervised(tmp_path, "env; exec sleep 60")
    process.start()
    await until(lambda: "PATH" in (tmp_path / "worker.log").read_text())
    assert "proxy" not in (tmp_path / "worker.log").read_text()
    await process.stop()


async def test_a_program_that_cannot_be_run_is_an_os_error_and_supervision_outlives_it(
    tmp_path: Path,
) -> None:
    program = tmp_path / "program"
    command = Command("worker", (str(program),))
    process = SupervisedProcess(
        command, log=tmp_path / "w.log", pid_file=tmp_path / "w.pid", probe=None, policy=QUICK
    )
    with pytest.raises(FileNotFoundError):
        process.start()
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    process.start()
    first = process.pid
    program.rename(tmp_path / "away")
    os.kill(first, signal.SIGKILL)
    await until(lambda: process.restarts == 1)
    await asyncio.sleep(0.05)
    (tmp_path / "away").rename(program)
    await until(lambda: process.pid not in (None, first))
    await process.stop()


def test_supervision_works_on_uvloop_too(tmp_path: Path) -> None:
    async def kill_and_wait() -> None:
        process = supervised(tmp_path, "exec sleep 60", Answers())
        process.start()
        await process.wait_ready(5)
        first = process.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: process.pid not in (None, first))
        await process.stop()
        assert gone(first)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(kill_and_wait())


PARENT = """
    import asyncio, sys
    from pathlib import Path
    from outrider.kube.embedded.commands import Command
    from outrider.kube.embedded.spawn import Child

    async def main():
        child = Child(Command("worker", ("/bin/sleep", "60")), Path(sys.argv[1]))
        print(child.pid, flush=True)
        await asyncio.sleep(60)

    asyncio.run(main())
"""


async def test_a_child_dies_with_its_killed_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), str(tmp_path / "log")],
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        pid = int(parent.stdout.readline())
        assert not gone(pid)
        parent.kill()
    await until(lambda: gone(pid))
