"""The gateway's end of the FIFO: never blocks, loses only what it counts, survives whatever happens to the FIFO."""

import asyncio
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from outrider.gateway.audit_channel import Channel
from outrider.gateway.audit_fifo import is_same, make_fifo, open_fifo
from tests.unit.gateway.audit_samples import read_all


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.pipe"


@pytest.fixture
def reader(path: Path) -> Iterator[int]:
    descriptor = open_fifo(path)
    yield descriptor
    os.close(descriptor)


def test_the_fifo_is_its_owners_alone_and_takes_the_place_of_anything_else(path: Path) -> None:
    path.write_text("not a fifo")
    make_fifo(path)
    made = path.lstat()
    assert stat.S_ISFIFO(made.st_mode)
    assert stat.S_IMODE(made.st_mode) == 0o600
    make_fifo(path)
    assert path.lstat().st_ino == made.st_ino


def test_a_link_to_elsewhere_is_not_followed(path: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "other")
    path.symlink_to(tmp_path / "other")
    descriptor = open_fifo(path)
    assert not is_same(descriptor, tmp_path / "other")
    os.close(descriptor)


async def test_lines_go_out_together_after_a_while(path: Path, reader: int) -> None:
    channel = Channel(path, flush_seconds=0.01)
    channel.put(b"1\n")
    channel.put(b"2\n")
    assert read_all(reader) == b""
    await asyncio.sleep(0.05)
    assert read_all(reader) == b"\n1\n2\n"
    channel.close()


async def test_much_goes_out_at_once(path: Path, reader: int) -> None:
    channel = Channel(path, flush_seconds=10)
    for _ in range(40):
        channel.put(b"x" * 999 + b"\n")
    assert len(read_all(reader)) >= 32 * 1024
    channel.close()
    assert channel.lost == 0


async def test_a_slow_reader_gets_everything_that_there_was_room_for(path: Path, reader: int) -> None:
    channel = Channel(path, limit=8 << 20, flush_seconds=0.01)
    count = 0
    while channel.room > 0:
        channel.put(b"%06d " % count + b"x" * 9992 + b"\n")
        count += 1
    assert count > 800
    data = b""
    while data.count(b"\n") < count + 1:
        data += read_all(reader)
        await asyncio.sleep(0.001)
    assert [int(line[:6]) for line in data.split()[::2]] == list(range(count))
    assert channel.room == 8 << 20
    channel.close()


async def test_a_fifo_that_was_replaced_is_opened_anew_at_a_whole_line(path: Path, reader: int) -> None:
    channel = Channel(path, flush_seconds=0.01)
    while channel.room > 6 << 20:
        channel.put(b"x" * 99_999 + b"\n")
    path.unlink()
    fresh = open_fifo(path)
    data = b""
    while channel.room < 8 << 20:
        data += read_all(fresh)
        await asyncio.sleep(0.005)
    data += read_all(fresh)
    os.close(fresh)
    channel.put(b"after\n")
    channel.close()
    assert data
    assert {len(line) for line in data.split(b"\n")[:-1]} <= {0, 99_999}
    assert channel.lost == 1


async def test_after_closing_there_is_no_room(path: Path, reader: int) -> None:
    channel = Channel(path)
    channel.close()
    assert channel.room == 0


async def test_closing_does_not_wait_for_a_reader_that_is_gone(path: Path) -> None:
    channel = Channel(path, flush_seconds=10)
    for _ in range(30):
        channel.put(b"x" * 99_999 + b"\n")
    began = asyncio.get_running_loop().time()
    assert channel.close(patience=0.05) > 1 << 20
    assert asyncio.get_running_loop().time() - began < 1
