"""The writer process and the gateway's end of its FIFO, with everything that can happen between them."""

import asyncio
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from outrider.gateway.audit import AuditTrail
from outrider.gateway.audit_channel import Channel
from outrider.gateway.audit_fifo import open_fifo
from tests.integration.audit.writer import Writer
from tests.unit.gateway.audit_samples import Clients, exchange, lines_of


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[Writer]:
    made = await Writer(tmp_path).start()
    yield made
    await made.stop()


def numbered(number: int, size: int = 0) -> bytes:
    return b'{"auditID":"%08d","pad":"%b"}\n' % (number, b"x" * size)


def numbers(lines: list[dict[str, object]]) -> list[int]:
    return [int(str(line["auditID"])) for line in lines if "auditID" in line]


async def test_records_arrive_whole_and_in_order(writer: Writer) -> None:
    trail = AuditTrail(writer.pipe, Clients())
    for _ in range(2000):
        trail.ended(exchange())
    trail.close()
    lines = await writer.wait_for(2000)
    assert [int(str(line["auditID"])[-12:], 16) for line in lines] == list(range(1, 2001))
    assert trail.values() == {"rancher_audit_events_total": 2000, "rancher_audit_dropped_total": 0}


async def test_what_is_in_the_pipe_is_written_before_it_stops(writer: Writer) -> None:
    channel = Channel(writer.pipe)
    for number in range(1000):
        channel.put(numbered(number, 500))
    assert channel.close() == 0
    assert await writer.stop() == ""
    assert numbers(lines_of(writer.path)) == list(range(1000))


async def test_a_killed_writer_goes_on_where_it_was(tmp_path: Path) -> None:
    writer = await Writer(tmp_path).start()
    channel = Channel(writer.pipe, flush_seconds=0.01)
    sent = 0
    for round_ in range(4):
        for _ in range(3000):
            if channel.room > 0:
                channel.put(numbered(sent, 100))
                sent += 1
            if sent % 200 == 0:
                await asyncio.sleep(0)
        if round_ < 3:
            await writer.stop(signal.SIGKILL)
            await writer.start()
    assert channel.lost == 0
    assert channel.close() == 0
    await writer.stop()
    lines = lines_of(writer.path)
    got = numbers(lines)
    assert got == sorted(set(got))
    assert got[-1] == sent - 1
    # what a killed process had read and not yet written is gone: one read and a piece of a record each time
    assert sent - len(got) <= 3 * (2 * 64 * 1024 // 131 + 2)
    assert sum("auditLogError" in line for line in lines) <= 6


async def test_a_gateway_that_dies_within_a_record_costs_only_that_record(writer: Writer) -> None:
    dying = open_fifo(writer.pipe)
    os.write(dying, numbered(1) + b'{"auditID":"2","secret":"Canary')
    os.close(dying)
    await writer.wait_for(1)
    channel = Channel(writer.pipe)
    channel.put(numbered(3))
    channel.close()
    lines = await writer.wait_for(3)
    assert numbers(lines) == [1, 3]
    assert lines[1] == {"auditLogError": "a record was cut off on its way and is lost", "length": 31}


async def test_a_record_without_end_does_not_fill_the_memory(writer: Writer) -> None:
    channel = Channel(writer.pipe)
    channel.put(b'{"auditID":"' + b"x" * (3 << 20) + b"\n")
    channel.put(numbered(1))
    async with asyncio.timeout(10):
        while channel.room < 8 << 20:
            await asyncio.sleep(0.01)
    channel.close()
    lines = await writer.wait_for(2)
    assert lines[0]["length"] == (3 << 20) + 12
    assert numbers(lines) == [1]


async def test_a_replaced_fifo_is_found_by_both_sides(writer: Writer) -> None:
    channel = Channel(writer.pipe, flush_seconds=0.02)
    channel.put(numbered(1))
    await writer.wait_for(1)
    writer.pipe.unlink()
    async with asyncio.timeout(10):
        number = 1
        while numbers(lines_of(writer.path))[-1] < 2:
            number += 1
            channel.put(numbered(number))
            await asyncio.sleep(0.1)
    channel.close()


async def test_a_full_disk_blocks_nobody_and_what_is_lost_is_said(tmp_path: Path) -> None:
    writer = await Writer(tmp_path).start()
    assert writer.process is not None
    # A limit on the size of files makes every further write fail, as a full disk does.
    resource.prlimit(writer.process.pid, resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    trail = AuditTrail(writer.pipe, Clients())
    big = exchange(b"/" + b"a" * 3900)
    slowest, loop = 0.0, asyncio.get_running_loop()
    while trail._channel.lost < 10:
        began = loop.time()
        for _ in range(50):
            trail.ended(big)
        await asyncio.sleep(0)
        slowest = max(slowest, loop.time() - began)
    assert slowest < 1
    lost = trail._channel.lost
    resource.prlimit(
        writer.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    )
    async with asyncio.timeout(20):
        while trail._channel.room < 7 << 20:
            await asyncio.sleep(0.05)
    trail.ended(exchange())
    trail.close()
    said = await writer.stop()
    assert "cannot write the audit log" in said
    lines = lines_of(writer.path)
    assert (
        lines[-1]["auditLogError"]
        == f"{lost} records were lost before this one: the writer could not keep up"
    )
    counted = [int(str(line["auditID"])[-12:], 16) for line in lines]
    assert counted == [*range(1, len(lines)), len(lines) + lost]
    assert trail.values()["rancher_audit_dropped_total"] == lost


async def test_a_writer_that_cannot_write_stops_all_the_same(tmp_path: Path) -> None:
    writer = await Writer(tmp_path).start()
    assert writer.process is not None
    resource.prlimit(writer.process.pid, resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
    channel = Channel(writer.pipe)
    channel.put(numbered(1))
    channel.close()
    await asyncio.sleep(0.3)
    assert "bytes of the audit log are lost" in await writer.stop()


async def test_files_are_rotated(tmp_path: Path) -> None:
    writer = await Writer(tmp_path, max_size=1, max_backup=2).start()
    channel = Channel(writer.pipe)
    number = 0
    async with asyncio.timeout(20):
        while number < 6000:
            if channel.room > 1 << 20:
                channel.put(numbered(number, 900))
                number += 1
            else:
                await asyncio.sleep(0.01)
        while channel.room < 8 << 20:
            await asyncio.sleep(0.01)
    channel.close()
    await writer.stop()
    files = sorted(writer.path.parent.iterdir(), key=lambda path: path.stat().st_mtime)
    assert len(files) == 3
    assert all(path.stat().st_size <= 10**6 for path in files)
    kept = [number for path in files for number in numbers(lines_of(path))]
    assert kept == list(range(kept[0], 6000))


async def test_a_log_that_cannot_be_opened_is_said_clearly(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.path.parent.write_text("a file where a folder is needed")
    writer.process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "outrider.server.audit", str(tmp_path / "audit.json")),
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await writer.process.communicate()
    assert writer.process.returncode == 1
    assert said.startswith(b"no audit log is written: ")
    assert b"Traceback" not in said
