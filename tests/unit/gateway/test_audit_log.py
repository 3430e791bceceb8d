"""Records out of a stream of bytes, however it is cut."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from outrider.gateway.audit_log import MAX_RECORD, Lines

records = st.lists(st.integers(0, 10**6).map(lambda n: b'{"auditID":"%d"}' % n), max_size=20)


@given(records, st.lists(st.integers(1, 60), min_size=1, max_size=50))
def test_any_cut_of_the_stream_makes_the_same_lines(wanted: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(record + b"\n" for record in wanted)
    lines, got, at = Lines(), b"", 0
    while at < len(stream):
        size = sizes[at % len(sizes)]
        got += lines.feed(stream[at : at + size])
        at += size
    assert got + lines.end() == stream


@given(st.binary(max_size=400), st.integers(1, 50))
def test_whatever_comes_all_lines_are_json(stream: bytes, size: int) -> None:
    lines = Lines()
    got = b"".join(lines.feed(stream[at : at + size]) for at in range(0, len(stream), size)) + lines.end()
    for line in got.splitlines():
        msgspec.json.decode(line)


def test_empty_lines_are_none() -> None:
    assert Lines().feed(b"\n\n") == b""


def test_a_record_without_end_is_given_up_and_the_next_one_is_read() -> None:
    lines = Lines()
    for _ in range(30):
        assert lines.feed(b"x" * (MAX_RECORD // 10)) == b""
        assert len(lines._rest) <= MAX_RECORD
    first, second = lines.feed(b'x\n{"auditID":1}\n').splitlines()
    assert msgspec.json.decode(first)["length"] == 30 * (MAX_RECORD // 10) + 1
    assert second == b'{"auditID":1}'


def test_what_is_left_at_the_end_is_said() -> None:
    lines = Lines()
    lines.feed(b'{"auditID":"Canary')
    assert msgspec.json.decode(lines.end())["length"] == 18
    assert lines.end() == b""
