"""Flow control of one direction of a stream: credit, as in HTTP/2 (RFC 9113 §5.2), that grows for fast readers."""

from outrider.tunnel import frames

OVERDRAFT = 1 << 20
"""Bytes beyond its credit that a peer may send before it is taken for hostile: more than what two reads of a
socket and a body that waited for its verdict can add up to."""


class Receiver:
    """The reading side: decides when to grant credit.

    A reader that keeps up gets twice the window each time it has used half of it, up to MAX_WINDOW; one that was
    paused keeps the window that it has. So a slow reader bounds memory, and a long fat pipe fills.
    """

    __slots__ = ("_allowed", "_owed", "_paused", "_window")

    def __init__(self) -> None:
        self._window = frames.INITIAL_WINDOW
        self._allowed = frames.INITIAL_WINDOW + OVERDRAFT
        self._owed = 0
        self._paused = False

    def consumed(self, size: int) -> int:
        """Counts bytes that were handed on; returns the credit to grant now, mostly 0.

        Raises FrameError when the peer has sent far more than it was granted.
        """
        self.charge(size)
        self._owed += size
        if self._paused or self._owed * 2 < self._window:
            return 0
        growth = min(self._window, frames.MAX_WINDOW - self._window)
        self._window += growth
        return self._take(growth)

    def charge(self, size: int) -> None:
        """Counts bytes that no credit is granted for; raises FrameError like `consumed`."""
        self._allowed -= size
        if self._allowed < 0:
            raise frames.FrameError("more bytes than were granted")

    def pause(self) -> None:
        """The reader is slow: grant nothing."""
        self._paused = True

    def resume(self) -> int:
        """The reader has caught up; returns the credit to grant."""
        self._paused = False
        return self._take(0) if self._owed * 2 >= self._window else 0

    def _take(self, growth: int) -> int:
        credit, self._owed = self._owed + growth, 0
        self._allowed += credit
        return credit


class Sender:
    """The writing side: counts credit down. It may overdraw by what one read of a socket gave."""

    __slots__ = ("credit",)

    def __init__(self) -> None:
        self.credit = frames.INITIAL_WINDOW

    def grant(self, payload: memoryview) -> None:
        """Adds the credit of a WINDOW payload; raises FrameError."""
        if len(payload) != frames.CREDIT.size:
            raise frames.FrameError("WINDOW has a wrong size")
        self.credit += frames.CREDIT.unpack_from(payload)[0]
        if self.credit > 2 * frames.MAX_WINDOW:
            raise frames.FrameError("WINDOW grants more than the largest window")


class Flow:
    """Both directions of a stream. Most streams are over before either matters, so each is made when it is needed."""

    __slots__ = ("_receiver", "_sender")

    def __init__(self) -> None:
        self._receiver: Receiver | None = None
        self._sender: Sender | None = None

    @property
    def receiver(self) -> Receiver:
        """The reading side."""
        if self._receiver is None:
            self._receiver = Receiver()
        return self._receiver

    @property
    def sender(self) -> Sender:
        """The writing side."""
        if self._sender is None:
            self._sender = Sender()
        return self._sender
