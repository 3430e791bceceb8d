"""One request and its response: the two ends that every backend speaks.

A *responder* made the request and hears of the response; an *upstream* takes the request's body and can be told
to slow down or stop. A tunnel session, a pool of connections to an API server and the control process's socket
are all backends, so the gateway needs one kind of exchange, and the agent is a responder like any client.

All calls are plain callbacks on the event loop's thread: on this path nothing awaits.
"""

from typing import Protocol

from outrider.tunnel.frames import Request


class Upstream(Protocol):
    """The way to whoever answers."""

    def send(self, data: bytes | memoryview) -> None:
        """Passes on bytes of the request's body (raw bytes after 101)."""

    def finish(self) -> None:
        """The request's body is complete."""

    def reset(self) -> None:
        """Nobody waits for the answer any more."""

    def pause(self) -> None:
        """Hold the response back: its reader is slow."""

    def resume(self) -> None:
        """The reader has caught up."""


class Responder(Protocol):
    """Whoever waits for the answer.

    After a last head, `on_end` or `on_reset`, and after `Upstream.reset`, nothing more is called. Calls come at any
    time from `Backend.open` on, even before it has returned. A responder raises nothing: it resets its upstream.
    """

    def on_head(self, status: int, length: int, lines: bytes, body: bytes | memoryview, last: bool) -> None:
        """The response's head, and body bytes that came with it (valid only during the call).

        `length` is the size of the body, -1 when unknown. Statuses below 200, but not 101, are informational and
        a final head follows. `lines` are well-formed end-to-end header lines. With `last` this is all.
        """

    def on_data(self, data: bytes | memoryview) -> None:
        """Bytes of the body; valid only during the call."""

    def on_end(self, trailers: bytes) -> None:
        """The response is complete. `trailers` are header lines, mostly none."""

    def on_reset(self, reason: str, *, refused: bool = False) -> None:
        """The response will not be completed. `refused`: the request was not carried out and may be sent again."""

    def pause_sending(self) -> None:
        """Hold the request's body back."""

    def resume_sending(self) -> None:
        """More of the request's body is welcome."""


class Backend(Protocol):
    """Something that answers requests on behalf of an identity."""

    def open(self, request: Request, claim: bytes, responder: Responder) -> Upstream:
        """Starts a request. `claim` is the verified identity, as the backend expects it."""


class CredentialError(Exception):
    """No credential could be had for an identity; the text may be shown to the user."""


class CredentialSource(Protocol):
    """Turns a claim into the header lines that let the API server know whom a request is for."""

    def header_block(self, claim: bytes) -> bytes | None:
        """Header lines, each ending in CRLF; None when they must be prepared first. Never blocks or raises."""

    async def prepare(self, claim: bytes) -> bytes:
        """The same, after whatever it takes; raises CredentialError."""

    def rejected(self, claim: bytes) -> bool:
        """The server answered 401: whether that speaks of this credential, which is forgotten then."""
