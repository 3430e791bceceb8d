import os
import subprocess
from pathlib import Path

import pytest

from outrider.kube.embedded import leftovers


@pytest.fixture
def sleeper() -> subprocess.Popen:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


async def test_a_recorded_process_is_ended(tmp_path: Path, sleeper: subprocess.Popen) -> None:
    leftovers.record(tmp_path / "etcd.pid", sleeper.pid)
    assert leftovers.survivors(tmp_path) == [sleeper.pid]
    await leftovers.end(tmp_path, timeout=5)
    assert sleeper.wait(5) == -9
    assert not list(tmp_path.iterdir())


async def test_another_process_with_the_same_id_is_left_alone(
    tmp_path: Path, sleeper: subprocess.Popen
) -> None:
    (tmp_path / "etcd.pid").write_text(f"{sleeper.pid} 12345\n")
    await leftovers.end(tmp_path, timeout=5)
    assert sleeper.poll() is None


@pytest.mark.parametrize("content", ["", "x", "1", "-1 5", "0 ", "999999999 5"])
async def test_a_damaged_record_is_nobody(tmp_path: Path, content: str) -> None:
    (tmp_path / "etcd.pid").write_text(content)
    assert leftovers.survivors(tmp_path) == []


def test_a_start_time_is_constant_and_absent_for_the_dead(sleeper: subprocess.Popen) -> None:
    assert leftovers.start_time(os.getpid()) == leftovers.start_time(os.getpid()) != ""
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert leftovers.start_time(sleeper.pid) == ""  # a zombie
