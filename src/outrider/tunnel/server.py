"""The server's end of a tunnel: sends requests to an agent and hands its answers to responders."""

from outrider.kit import http1
from outrider.tunnel import frames
from outrider.tunnel.exchange import Responder
from outrider.tunnel.flow import Flow
from outrider.tunnel.frames import FIN, FrameError, Request
from outrider.tunnel.mux import Mux

MAX_STREAM = 0xFFFFFFFF
MAX_BACKLOG = 16 << 20
"""Bytes that may wait for an agent which takes none; then new requests are refused."""


class ServerStream(Flow):
    """One request in flight; an Upstream for its responder."""

    __slots__ = ("_done", "_headed", "_paused", "_session", "_upgrade", "id", "responder")

    def __init__(self, session: "ServerSession", number: int, responder: Responder, *, upgrade: bool) -> None:
        self._receiver = self._sender = None
        self.id = number
        self.responder = responder
        self._session = session
        self._upgrade = upgrade
        self._headed = False
        self._paused = False
        self._done = False

    # Upstream: the request's body

    def send(self, data: bytes | memoryview) -> None:
        """Passes on body bytes; pauses the responder when credit or the socket runs out."""
        if self._done or not data:
            return
        session = self._session
        session.send_frame(frames.DATA, self.id, data)
        self.sender.credit -= len(data)
        if self.sender.credit <= 0 or session.blocked:
            self._hold()

    def finish(self) -> None:
        """The request's body is complete."""
        if not self._done:
            self._session.send_frame(frames.DATA | FIN, self.id)

    def reset(self) -> None:
        """Gives the request up."""
        if not self._done:
            self._forget()
            self._session.send_frame(frames.RESET, self.id)

    def pause(self) -> None:
        """Grants no more credit."""
        self.receiver.pause()

    def resume(self) -> None:
        """Grants what has gathered."""
        self._grant(self.receiver.resume())

    # Stream: frames from the agent

    def on_frame(self, kind: int, fin: int, payload: memoryview) -> None:
        """One frame of the response."""
        if kind == frames.HEAD:
            self._on_head(fin, payload)
        elif kind == frames.DATA:
            self._on_data(fin, payload)
        elif kind == frames.TRAILERS:
            self._on_trailers(payload)
        elif kind == frames.WINDOW:
            self.sender.grant(payload)
            self.on_writable()
        elif kind == frames.RESET:
            self._forget()
            reason = bytes(payload[:300]).decode("utf-8", "replace") or "reset by the agent"
            self.responder.on_reset(reason, refused=bool(fin) and not self._headed)
        else:
            raise FrameError(f"frame type {kind} does not belong to a response")

    def _on_head(self, fin: int, payload: memoryview) -> None:
        status, length, lines, body = frames.parse_heading(payload)
        if self._headed:
            raise FrameError("response has a second head")
        if len(lines) > http1.MAX_HEAD or not http1.well_formed(lines):
            return self.fail("the response's head is too large or malformed")
        if status < 200:
            return self._on_informational(status, fin, lines, body)
        self._headed = True
        if fin:
            self._forget()
            return self.responder.on_head(status, length, lines, body, True)
        self.responder.on_head(status, length, lines, body, False)
        return self._account(len(body))

    def _on_informational(self, status: int, fin: int, lines: bytes, body: memoryview) -> None:
        switch = status == 101
        if fin or (switch and not self._upgrade) or (body and not switch):
            raise FrameError("informational response is out of place")
        self._headed = switch
        self.responder.on_head(status, -1, lines, body, False)
        if switch:
            return self._account(len(body))
        return self.receiver.charge(frames.HEADING.size + len(lines))  # no end of them without an answer

    def _on_data(self, fin: int, payload: memoryview) -> None:
        if not self._headed:
            raise FrameError("body comes before its head")
        if fin:
            self._forget()
        if payload:
            self.responder.on_data(payload)
            self._account(len(payload))
        if fin:
            self.responder.on_end(b"")

    def _on_trailers(self, payload: memoryview) -> None:
        lines = bytes(payload)
        if not self._headed:
            raise FrameError("trailers come before a head")
        if len(lines) > http1.MAX_HEAD or not http1.well_formed(lines):
            return self.fail("the response's trailers are too large or malformed")
        self._forget()
        return self.responder.on_end(lines)

    def _account(self, size: int) -> None:
        if size:
            self._grant(self.receiver.consumed(size))

    def _grant(self, credit: int) -> None:
        if credit and not self._done:
            self._session.send_frame(frames.WINDOW, self.id, frames.CREDIT.pack(credit))

    # life

    def on_writable(self) -> None:
        """Credit or room has come back."""
        if not self._paused or self._done:
            return
        if self._session.blocked:
            self._session.waiting.add(self)
        elif self.sender.credit > 0:
            self._paused = False
            self.responder.resume_sending()

    def on_gone(self, reason: str) -> None:
        """The tunnel is gone, and the response with it."""
        if not self._done:
            self._done = True
            self.responder.on_reset(reason)

    def refuse(self, reason: str) -> None:
        """The request never leaves."""
        self._done = True
        self.responder.on_reset(reason, refused=True)

    def fail(self, reason: str) -> None:
        """Gives the response up: agent and responder are told."""
        if not self._done:
            self.reset()
            self.responder.on_reset(reason)

    def _hold(self) -> None:
        if not self._paused:
            self._paused = True
            self.responder.pause_sending()
        if self._session.blocked:
            self._session.waiting.add(self)

    def _forget(self) -> None:
        self._done = True
        self._session.streams.pop(self.id, None)
        if self._paused:
            self._session.waiting.discard(self)


class ServerSession(Mux):
    """A tunnel as the gateway sees it: a Backend that reaches one cluster.

    `id` is unique in this process. Control messages from the agent go to `receive`, bytes of JSON.
    """

    def __init__(self, number: int, cluster: str) -> None:
        super().__init__()
        self.id = number
        self.cluster = cluster
        self._next = 0

    def open(self, request: Request, claim: bytes, responder: Responder) -> ServerStream:
        """Sends a request down the tunnel; refuses it at once when the tunnel takes none."""
        number = self._next = self._next % MAX_STREAM + 1
        while number in self.streams:
            number = self._next = self._next % MAX_STREAM + 1
        stream = ServerStream(self, number, responder, upgrade=bool(request.upgrade))
        if self._closing or (self.blocked and self.backlog > MAX_BACKLOG):
            stream.refuse(
                "the tunnel is closing" if self._closing else "the cluster's agent takes no requests"
            )
            return stream
        self.streams[number] = stream
        kind = frames.OPEN | FIN if request.length == 0 and not request.upgrade else frames.OPEN
        self.send_frame(kind, number, frames.opening(claim, request))
        return stream

    def on_late(self, number: int) -> None:
        """A frame of a stream that is over; raises FrameError for one that was never opened.

        Numbers come again after 2³² requests: whatever is less than half of them ahead is yet to come (RFC 1982).
        """
        if 0 < (number - self._next) & MAX_STREAM <= MAX_STREAM // 2:
            raise FrameError("a frame speaks of a stream that was never opened")
