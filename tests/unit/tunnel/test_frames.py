"""The codec: what goes in comes out, and nothing else is let in."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.kit import http1
from outrider.tunnel import frames
from outrider.tunnel.flow import OVERDRAFT, Receiver, Sender
from outrider.tunnel.frames import FrameError, Request

_lengths = st.integers(min_value=-1, max_value=2**62)


@given(st.binary(max_size=300), st.binary(max_size=300), _lengths, st.binary(max_size=64))
def test_openings_round_trip(claim: bytes, head: bytes, length: int, upgrade: bytes) -> None:
    opened, found = frames.parse_opening(memoryview(frames.opening(claim, Request(head, length, upgrade))))
    assert (opened, found.head, found.length, found.upgrade) == (claim, head, length, upgrade)


@given(st.integers(100, 999), _lengths, st.binary(max_size=300), st.binary(max_size=300))
def test_headings_round_trip(status: int, length: int, lines: bytes, body: bytes) -> None:
    *found, first = frames.parse_heading(memoryview(frames.heading(status, length, lines, body)))
    assert (*found, bytes(first)) == (status, length, lines, body)


@given(st.binary(max_size=80))
def test_anything_else_is_an_error_of_ours(payload: bytes) -> None:
    for parse in (frames.parse_opening, frames.parse_heading, Sender().grant):
        with contextlib.suppress(FrameError):
            parse(memoryview(payload))


@pytest.mark.parametrize("size", range(17))
def test_openings_that_are_cut_off(size: int) -> None:
    whole = frames.opening(b"c", Request(b"h", 1, b"u"))
    with pytest.raises(FrameError):
        frames.parse_opening(memoryview(whole[:size]))


@pytest.mark.parametrize("length", [-2, -(2**63)])
def test_lengths_below_unknown(length: int) -> None:
    with pytest.raises(FrameError):
        frames.parse_opening(memoryview(frames.OPENING.pack(0, length, 0, 0)))
    with pytest.raises(FrameError):
        frames.parse_heading(memoryview(frames.HEADING.pack(200, length, 0)))


@pytest.mark.parametrize("status", [0, 99, 1000, 65535])
def test_statuses_that_are_none(status: int) -> None:
    with pytest.raises(FrameError):
        frames.parse_heading(memoryview(frames.HEADING.pack(status, 0, 0)))


@pytest.mark.parametrize(
    ("request_", "repeatable"),
    [
        (Request(b"GET /x HTTP/1.1\r\n"), True),
        (Request(b"HEAD /x HTTP/1.1\r\n"), True),
        (Request(b"GET /x HTTP/1.1\r\n", 3), False),
        (Request(b"GET /x HTTP/1.1\r\n", -1), False),
        (Request(b"GET /x HTTP/1.1\r\n", 0, b"websocket"), False),
        (Request(b"POST /x HTTP/1.1\r\n"), False),
        (Request(b"DELETE /x HTTP/1.1\r\n"), False),
    ],
)
def test_what_may_be_sent_twice(request_: Request, repeatable: bool) -> None:
    assert request_.repeatable is repeatable


class TestLines:
    @pytest.mark.parametrize("lines", [b"", b"A: b\r\n", b"A:\r\n", b"A: b\tc \xff\r\nSet-Cookie: x\r\n"])
    def test_sound(self, lines: bytes) -> None:
        assert http1.well_formed(lines)

    @pytest.mark.parametrize(
        "lines",
        [b"A: b", b"A: b\n", b"A: b\r\n\r\n", b"A: b\r\n c\r\n", b"A b\r\n", b": b\r\n", b"A : b\r\n", b"A: \x00\r\n",
         b"A: b\rc\r\n", b"A: b\nC: d\r\n", b"Content-Length: 5\r\n", b"A: b\r\ntransfer-ENCODING: chunked\r\n",
         b"Connection: close\r\n", b"Upgrade: x\r\n", b"TE: x\r\n", b"\r\n", b"A: \x7f\r\n"],
    )  # fmt: skip
    def test_unsound(self, lines: bytes) -> None:
        assert not http1.well_formed(lines)

    @given(
        st.lists(
            st.sampled_from([b"A: b\r\n", b"\r\n", b"Content-Length: 1\r\n", b"x", b" ", b"\n"]), max_size=8
        )
    )
    def test_what_passes_holds_just_its_lines(self, parts: list[bytes]) -> None:
        lines = b"".join(parts)
        if http1.well_formed(lines):
            assert lines.endswith(b"\r\n") or not lines
            for line in lines.split(b"\r\n")[:-1]:
                assert line.lstrip(b"x") in {b"A: b", b"Content-Length: 1"}
                assert not line.startswith(b"Content-Length")

    @pytest.mark.parametrize(
        "head",
        [b"GET /x HTTP/1.1\r\n", b"POST /x?y=%20 HTTP/1.1\r\nAccept: a\r\nx-forwarded-for: b\r\n"],
    )
    def test_forwardable(self, head: bytes) -> None:
        assert http1.forwardable(head, b"")
        assert http1.forwardable(head, b"SPDY/3.1")

    @pytest.mark.parametrize(
        "line",
        [b"Authorization: x", b"Impersonate-User: x", b"impersonate-extra-x: y", b"Host: x", b"Cookie: x",
         b"X-Remote-User: x", b"X-Outrider-Claim: x", b"Content-Length: 1", b"Transfer-Encoding: chunked",
         b"Proxy-Authorization: x", b"Connection: x"],
    )  # fmt: skip
    def test_what_would_be_taken_for_ours(self, line: bytes) -> None:
        assert not http1.forwardable(b"GET /x HTTP/1.1\r\n" + line + b"\r\n", b"")
        assert not http1.forwardable(b"GET /x HTTP/1.1\r\nA: b\r\n" + line.upper() + b"\r\n", b"")

    @pytest.mark.parametrize(
        "head",
        [b"", b"GET /x HTTP/1.1", b"GET /x HTTP/1.0\r\n", b"GET  HTTP/1.1\r\n", b"GET /x y HTTP/1.1\r\n",
         b"get /x HTTP/1.1\r\n", b"GET /\xff HTTP/1.1\r\n", b"GET /x HTTP/1.1\r\n\r\nGET /y HTTP/1.1\r\n"],
    )  # fmt: skip
    def test_request_lines_that_are_none(self, head: bytes) -> None:
        assert not http1.forwardable(head, b"")

    def test_protocols_that_are_none(self) -> None:
        assert not http1.forwardable(b"GET /x HTTP/1.1\r\n", b"a\r\nb: c")
        assert not http1.forwardable(b"GET /x HTTP/1.1\r\n", b"a, b")


class TestFlow:
    def test_the_window_grows_for_who_keeps_up(self) -> None:
        receiver, granted, sent = Receiver(), frames.INITIAL_WINDOW, 0
        while granted < 100 << 20:
            sent += 100_000
            granted += receiver.consumed(100_000)
            assert granted - sent <= frames.MAX_WINDOW
        assert granted - sent > frames.MAX_WINDOW / 2 - 200_000

    def test_the_window_stays_for_who_does_not(self) -> None:
        receiver = Receiver()
        outstanding = frames.INITIAL_WINDOW
        for _ in range(50):
            receiver.pause()
            assert receiver.consumed(outstanding) == 0
            outstanding = receiver.resume()
            assert outstanding == frames.INITIAL_WINDOW

    def test_little_bits_never_starve(self) -> None:
        receiver, credit = Receiver(), frames.INITIAL_WINDOW
        for _ in range(10_000):
            assert credit > 0
            credit -= 777
            receiver.pause()
            credit += receiver.consumed(777)
            credit += receiver.resume()

    def test_an_honest_overdraft_is_let_pass(self) -> None:
        receiver = Receiver()
        receiver.pause()
        receiver.consumed(frames.INITIAL_WINDOW + OVERDRAFT)

    def test_a_hostile_one_is_not(self) -> None:
        receiver = Receiver()
        receiver.pause()
        receiver.consumed(frames.INITIAL_WINDOW + OVERDRAFT)
        with pytest.raises(FrameError):
            receiver.consumed(1)

    def test_endless_heads_use_the_overdraft_up(self) -> None:
        receiver = Receiver()
        receiver.charge(frames.INITIAL_WINDOW + OVERDRAFT)
        with pytest.raises(FrameError):
            receiver.charge(1)

    @given(st.lists(st.tuples(st.integers(1, 300_000), st.booleans()), max_size=200))
    def test_whoever_keeps_to_its_credit_is_never_taken_for_hostile_nor_starved(
        self, steps: list[tuple[int, bool]]
    ) -> None:
        """A sender that sends while it has credit, overdrawing by one read, against a reader that pauses at will."""
        receiver, sender = Receiver(), Sender()
        paused = False
        for size, slow in steps:
            if slow and not paused:
                receiver.pause()
            elif not slow and paused:
                sender.credit += receiver.resume()
            paused = slow
            if sender.credit > 0:
                sender.credit -= size
                sender.credit += receiver.consumed(size)
        sender.credit += receiver.resume()
        assert 0 < sender.credit <= frames.MAX_WINDOW

    def test_credit_without_end(self) -> None:
        sender = Sender()
        sender.grant(memoryview(frames.CREDIT.pack(frames.MAX_WINDOW)))
        with pytest.raises(FrameError):
            sender.grant(memoryview(frames.CREDIT.pack(frames.MAX_WINDOW)))
