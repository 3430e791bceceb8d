"""The agent's end of a tunnel: runs the server's requests on a backend and sends the answers back."""

import logging
from collections.abc import Callable

from outrider.kit import http1
from outrider.tunnel import frames
from outrider.tunnel.exchange import Backend, Upstream
from outrider.tunnel.flow import Flow
from outrider.tunnel.frames import FIN, FrameError
from outrider.tunnel.mux import Mux

MAX_STREAMS = 10_000
"""Requests that one tunnel runs at the same time; more are reset with a reason."""

_log = logging.getLogger("outrider.tunnel")


class AgentStream(Flow):
    """One request in flight; the Responder of the backend that runs it.

    `complete` says that the request has come whole: it has no body.
    """

    __slots__ = ("_complete", "_paused", "_session", "done", "id", "upstream")

    def __init__(self, session: "AgentSession", number: int, *, complete: bool) -> None:
        self._receiver = self._sender = None
        self.id = number
        self.upstream: Upstream | None = None
        self.done = False
        self._session = session
        self._complete = complete
        self._paused = False

    # Stream: frames from the server

    def on_frame(self, kind: int, fin: int, payload: memoryview) -> None:
        """One frame of the request's body, or about its flow."""
        if kind == frames.WINDOW:
            self.sender.grant(payload)
            return self.on_writable()
        if kind == frames.RESET:
            return self.on_gone("")
        if kind != frames.DATA:
            raise FrameError(f"frame type {kind} does not belong to a request")
        if self._complete:
            raise FrameError("body goes on after its end")
        return self._on_data(fin, payload)

    def _on_data(self, fin: int, payload: memoryview) -> None:
        upstream = self.upstream
        if fin:
            self._complete = True
        if upstream is None:
            return
        if payload:
            upstream.send(bytes(payload))
            self._grant(self.receiver.consumed(len(payload)))
        if fin and not self.done:
            upstream.finish()

    def on_gone(self, reason: str) -> None:
        """Nobody waits for the answer any more."""
        self._forget()
        if self.upstream is not None:
            self.upstream.reset()

    def fail(self, reason: str) -> None:
        """Gives the request up: server and backend are told."""
        if not self.done:
            self.on_reset(reason)
            if self.upstream is not None:
                self.upstream.reset()

    def on_writable(self) -> None:
        """Credit or room has come back."""
        if not self._paused:
            return
        if self._session.blocked:
            self._session.waiting.add(self)
        elif self.sender.credit > 0 and self.upstream is not None:
            self._paused = False
            self.upstream.resume()

    # Responder: the answer of the API server

    def on_head(self, status: int, length: int, lines: bytes, body: bytes | memoryview, last: bool) -> None:
        """The head, with the body bytes that are there already."""
        if self.done:
            return
        payload = frames.heading(status, length, lines, body)
        if last:
            self._forget()
            return self._session.send_frame(frames.HEAD | FIN, self.id, payload)
        self._session.send_frame(frames.HEAD, self.id, payload)
        self._spent(len(body))
        return None

    def on_data(self, data: bytes | memoryview) -> None:
        """Bytes of the body."""
        if not self.done:
            self._session.send_frame(frames.DATA, self.id, data)
            self._spent(len(data))

    def on_end(self, trailers: bytes) -> None:
        """The response is complete."""
        if not self.done:
            self._forget()
            kind = frames.TRAILERS if trailers else frames.DATA
            self._session.send_frame(kind | FIN, self.id, trailers)

    def on_reset(self, reason: str, *, refused: bool = False) -> None:
        """The API server will not complete it."""
        if not self.done:
            self._forget()
            kind = frames.RESET | FIN if refused else frames.RESET
            self._session.send_frame(kind, self.id, reason.encode()[:300])

    def pause_sending(self) -> None:
        """The API server takes no more of the request's body: grant no credit."""
        self.receiver.pause()

    def resume_sending(self) -> None:
        """It does again."""
        self._grant(self.receiver.resume())

    def started(self, upstream: Upstream) -> None:
        """The backend has taken the request."""
        self.upstream = upstream
        if self._paused:
            upstream.pause()

    def _spent(self, size: int) -> None:
        self.sender.credit -= size
        if (self.sender.credit <= 0 or self._session.blocked) and not self._paused:
            self._paused = True
            if self._session.blocked:
                self._session.waiting.add(self)
            if self.upstream is not None:
                self.upstream.pause()

    def _grant(self, credit: int) -> None:
        if credit and not self.done:
            self._session.send_frame(frames.WINDOW, self.id, frames.CREDIT.pack(credit))

    def _forget(self) -> None:
        self.done = True
        self._session.streams.pop(self.id, None)
        if self._paused:
            self._session.waiting.discard(self)


class AgentSession(Mux):
    """A tunnel as the agent sees it. `receive` gets the server's control messages (JSON)."""

    def __init__(self, backend: Backend, receive: Callable[["AgentSession", bytes], None]) -> None:
        super().__init__()
        self._backend = backend
        self._receive = receive

    def on_message(self, body: bytes) -> None:
        """Hands a control message on."""
        self._receive(self, body)

    def on_open(self, number: int, fin: int, payload: memoryview) -> None:
        """Starts a request of the server's; what cannot be one is refused without harm to others."""
        claim, request = frames.parse_opening(payload)
        if number == 0:
            raise FrameError("stream 0 carries no requests")
        stream = AgentStream(self, number, complete=bool(fin))
        if len(request.head) > http1.MAX_HEAD or not http1.forwardable(request.head, request.upgrade):
            return stream.on_reset("the request's head is malformed or too large", refused=True)
        if (request.length != 0 or bool(request.upgrade)) == bool(fin):
            return stream.on_reset("the request's body is not as its head says", refused=True)
        if len(self.streams) >= MAX_STREAMS:
            return stream.on_reset("the agent has too many requests at once", refused=True)
        self.streams[number] = stream
        try:
            stream.started(self._backend.open(request, claim, stream))
        except Exception:
            _log.exception("a request could not be started")
            stream.fail("internal error of the agent")
        return None
