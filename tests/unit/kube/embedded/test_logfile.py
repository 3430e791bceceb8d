import os
import stat
from pathlib import Path

from outrider.kube.embedded import logfile


def test_a_log_within_its_limit_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"x" * 100)
    assert not logfile.bound(log, 100)
    assert not logfile.bound(tmp_path / "none.log", 100)
    assert [path.name for path in tmp_path.iterdir()] == ["a.log"]


def test_a_grown_log_keeps_its_end_and_the_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    with log.open("ab", buffering=0) as child:
        child.write(b"old\n" * 100)
        child.write(b"last words\n")
        assert logfile.bound(log, 64)
        child.write(b"after\n")
    previous = tmp_path / "a.log.1"
    assert log.read_bytes() == b"after\n"
    assert previous.read_bytes().endswith(b"old\nlast words\n")
    assert previous.stat().st_size == 64
    assert stat.S_IMODE(previous.stat().st_mode) == 0o600


def test_a_log_is_bounded_even_when_its_end_cannot_be_kept(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"x" * 100)
    (tmp_path / "a.log.1").mkdir()
    assert logfile.bound(log, 64)
    assert log.stat().st_size == 0


def test_tail_gives_the_last_lines_of_a_bounded_part(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("".join(f"line {number}\n" for number in range(1000)))
    assert logfile.tail(log, lines=2) == "line 998\nline 999"
    assert logfile.tail(log, lines=5, limit=9) == "line 999"
    assert logfile.tail(tmp_path / "none.log") == ""


def test_tail_bears_what_is_not_text(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"\xff\xfe\n" + os.urandom(10).replace(b"\n", b""))
    assert logfile.tail(log).startswith("\ufffd")
