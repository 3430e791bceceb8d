"""The log's files: rotation by size, number and age; nothing half written."""

import os
import stat
from pathlib import Path

import msgspec
import pytest

from outrider.gateway.audit_files import LogFile, Rotation
from tests.unit.gateway.audit_samples import lines_of


class Now:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def __call__(self) -> float:
        return self.time


def line(number: int, size: int = 40) -> bytes:
    text = msgspec.json.encode({"n": number})
    return text[:-1] + b" " * (size - len(text) - 1) + b"}\n"


@pytest.fixture
def now() -> Now:
    return Now()


def log(path: Path, now: Now, **limits: int) -> LogFile:
    return LogFile(path, Rotation(**{"max_bytes": 0, "max_days": 0, "backups": 0} | limits), now)


def put(file: LogFile, data: bytes) -> None:
    assert file.append(memoryview(data)) == b""


def test_the_file_is_its_owners_alone(tmp_path: Path, now: Now) -> None:
    path = tmp_path / "deep" / "audit.log"
    path.parent.mkdir()
    path.touch(0o644)
    path.chmod(0o644)
    log(path, now).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_full_files_are_put_aside_and_the_oldest_go(tmp_path: Path, now: Now) -> None:
    path = tmp_path / "audit.log"
    (tmp_path / "audit-of-the-house.log").touch()
    (tmp_path / "audit-2020.txt").touch()
    file = log(path, now, max_bytes=100, backups=2)
    for number in range(10):
        now.time += 0.5
        put(file, line(number))
    file.close()
    assert [entry["n"] for entry in lines_of(path)] == [8, 9]
    former = sorted(tmp_path.glob("audit-20*.log"))
    assert [[entry["n"] for entry in lines_of(one)] for one in former] == [[4, 5], [6, 7]]
    assert all(stat.S_IMODE(one.stat().st_mode) == 0o600 for one in former)
    assert (tmp_path / "audit-of-the-house.log").exists()
    assert (tmp_path / "audit-2020.txt").exists()


def test_old_files_go(tmp_path: Path, now: Now) -> None:
    path = tmp_path / "audit.log"
    for days, name in (
        (1, "audit-2027-01-02T00-00-00.000000.log"),
        (11, "audit-2026-12-20T00-00-00.000000.log"),
    ):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (now.time - days * 86400,) * 2)
    log(path, now, max_days=10).close()
    assert {one.name for one in tmp_path.iterdir()} == {"audit.log", "audit-2027-01-02T00-00-00.000000.log"}


def test_without_limits_nothing_goes(tmp_path: Path, now: Now) -> None:
    file = log(tmp_path / "audit.log", now)
    for number in range(50):
        put(file, line(number))
    file.close()
    assert len(lines_of(tmp_path / "audit.log")) == 50
    assert len(list(tmp_path.iterdir())) == 1


def test_a_line_is_never_split_between_files(tmp_path: Path, now: Now) -> None:
    file = log(tmp_path / "audit.log", now, max_bytes=100)
    put(file, line(1) + line(2)[:10])
    put(file, line(2)[10:] + line(3))
    put(file, line(4))
    file.close()
    for one in tmp_path.iterdir():
        assert lines_of(one)


def test_an_unfinished_line_becomes_a_whole_one(tmp_path: Path, now: Now) -> None:
    path = tmp_path / "audit.log"
    path.write_bytes(line(1) + b'{"n":2,"half')
    file = log(path, now)
    put(file, line(3))
    file.close()
    first, torn, last = lines_of(path)
    assert (first["n"], last["n"]) == (1, 3)
    assert torn["fragment"] == '{"n":2,"half'
    assert "auditLogError" in torn


def test_a_file_that_was_moved_away_is_made_anew(tmp_path: Path, now: Now) -> None:
    path = tmp_path / "audit.log"
    file = log(path, now)
    put(file, line(1))
    path.rename(tmp_path / "elsewhere")
    file.follow()
    put(file, line(2))
    file.close()
    assert [entry["n"] for entry in lines_of(path)] == [2]
    assert [entry["n"] for entry in lines_of(tmp_path / "elsewhere")] == [1]
