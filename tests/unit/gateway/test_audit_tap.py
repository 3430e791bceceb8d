"""Copies of bodies: bounded, and let go."""

import msgspec

from outrider.gateway.audit_tap import BODY, Bodies, Holdings, Tap
from tests.unit.gateway.audit_samples import exchange

LINE = b'{"auditID":"x"}\n'


def attached(tap: Tap, **fields: object) -> Bodies:
    line = tap.attach(LINE, exchange(**fields))  # type: ignore[arg-type]
    meta, tab, bodies = line.partition(b"\t")
    assert (meta + b"\n", tab, line[-1:]) == (LINE, b"\t", b"\n")
    assert line.count(b"\n") == 1
    return msgspec.json.decode(bodies, type=Bodies)


def test_both_bodies_with_what_they_are() -> None:
    tap = Tap(Holdings(), request=True, response=True)
    tap.on_request(b"ab\t\n")
    tap.on_request(memoryview(b"c"))
    tap.on_head(b"Content-Type: application/json\r\ncontent-encoding: gzip\r\nx: y\r\n", memoryview(b"1"))
    tap.on_response(b"23")
    bodies = attached(tap, special={b"content-type": b"application/json-patch+json"})
    assert bodies.request is not None
    assert bodies.response is not None
    assert (bodies.request.data, bodies.request.length) == (b"ab\t\nc", 5)
    assert bodies.request.media == "application/json-patch+json"
    assert (bodies.response.data, bodies.response.media) == (b"123", "application/json")
    assert bodies.response.coding == "gzip"


def test_at_most_64_kb_of_each() -> None:
    holdings = Holdings()
    tap = Tap(holdings, request=True, response=False)
    for _ in range(3):
        tap.on_request(b"x" * 50_000)
    tap.on_response(b"y" * 100)
    assert holdings.held == BODY
    bodies = attached(tap)
    assert bodies.request is not None
    assert (len(bodies.request.data), bodies.request.length) == (BODY, 150_000)
    assert bodies.response is None
    assert holdings.held == 0


def test_all_copies_together_are_bounded() -> None:
    holdings = Holdings(limit=100)
    first, second = (Tap(holdings, request=True, response=True) for _ in range(2))
    first.on_request(b"x" * 80)
    second.on_head(b"", b"y" * 80)
    assert holdings.held == 100
    bodies = attached(second)
    assert bodies.response is not None
    assert (len(bodies.response.data), bodies.response.length) == (20, 80)
    first.release()
    assert holdings.held == 0


def test_without_bodies_the_record_stays_as_it_is() -> None:
    tap = Tap(Holdings(), request=True, response=True)
    tap.on_head(b"content-length: 0\r\n", b"")
    assert tap.attach(LINE, exchange()) == LINE
