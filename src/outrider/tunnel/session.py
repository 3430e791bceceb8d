"""How a tunnel comes to be: the server adopts an accepted connection, the agent dials."""

import asyncio
import logging
import ssl
from collections.abc import Mapping
from typing import TypeVar

import picows
from picows import WSFrame, WSListener, WSTransport
from picows.picows import WSProtocol  # type: ignore[attr-defined]

from outrider.tunnel.agent import AgentSession
from outrider.tunnel.farewell import GONE
from outrider.tunnel.mux import Mux

MAX_WEBSOCKET_MESSAGE = 4 << 20
"""Bytes in one WebSocket message: a batch plus one frame of the largest size, generously."""

_LONGEST_REFUSAL = 4096

M = TypeVar("M", bound=Mux)
_log = logging.getLogger("outrider.tunnel")
_log.setLevel(logging.WARNING)


class DialError(Exception):
    """The tunnel could not be opened.

    `status` is the server's HTTP status, 0 when there was no answer; `body` the beginning of what it said.
    """

    def __init__(self, message: str, status: int = 0, body: bytes = b"") -> None:
        super().__init__(message)
        self.status = status
        self.body = body


class Ear(WSListener):
    """What picows calls: passes everything on to a multiplexer."""

    def __init__(self, mux: Mux) -> None:
        self._mux = mux

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The WebSocket is up."""
        self._mux.on_ws_connected(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A message, or part of one."""
        self._mux.on_ws_frame(transport, frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The WebSocket is gone."""
        self._mux.on_ws_disconnected(transport)

    def pause_writing(self) -> None:
        """The socket takes no more."""
        self._mux.pause_writing()

    def resume_writing(self) -> None:
        """The socket takes bytes again."""
        self._mux.resume_writing()


def adopt(transport: asyncio.Transport, head: bytes, session: Mux) -> None:
    """Turns an accepted connection into a tunnel.

    `head` is the whole head of the WebSocket handshake, blank line included; it is answered from here.
    """
    protocol = WSProtocol(
        None,  # host and path are a client's business
        None,
        False,  # server side
        lambda _request: Ear(session),
        _log,
        True,  # an exception in a callback ends the connection
        10.0,  # handshake time-out, seconds
        False,  # liveness is ours: contract, clusters-and-agents §3.7
        30.0,
        10.0,
        picows.WSAutoPingStrategy.PING_WHEN_IDLE,
        False,  # pongs are ours too: they carry no payload
        MAX_WEBSOCKET_MESSAGE,
        None,
        16 * 1024,
    )
    protocol.connection_made(transport)  # first: where this fails, losing the connection must not reach it
    transport.set_protocol(protocol)
    at = 0
    while at < len(head):
        room = protocol.get_buffer(-1)
        part = head[at : at + len(room)]
        room[: len(part)] = part
        protocol.buffer_updated(len(part))
        at += len(part)


async def dial(
    url: str,
    ssl_context: ssl.SSLContext | None,
    headers: Mapping[str, str],
    session: AgentSession,
    *,
    timeout: float = 10.0,
    proxy: str | None = None,
) -> AgentSession:
    """Opens a tunnel to a server replica; raises DialError with the server's words when it refuses."""
    try:
        async with asyncio.timeout(timeout):
            await picows.ws_connect(
                lambda: Ear(session),
                url,
                ssl_context=ssl_context,
                extra_headers=dict(headers),
                enable_auto_pong=False,
                enable_auto_ping=False,
                max_frame_size=MAX_WEBSOCKET_MESSAGE,
                logger_name=_log,
                websocket_handshake_timeout=timeout,
                use_aiofastnet=True,
                proxy=proxy,
                max_redirects=0,  # a redirect must not carry the registration token elsewhere
            )
    except picows.WSError as error:
        raise _refused(error) from error
    except (OSError, ssl.SSLError, TimeoutError) as error:
        raise DialError(f"cannot connect to {url}: {error or 'timed out'}") from error
    return session


def _refused(error: picows.WSError) -> DialError:
    response = getattr(error, "response", None)
    if response is None:
        return DialError(f"the server did not open a tunnel: {error}")
    body = bytes(getattr(error, "raw_body", None) or b"")[:_LONGEST_REFUSAL]
    status = int(response.status)
    # An order to leave proves that the server knows the token: that is for the agent, not for its log
    text = "the cluster was deleted" if status == GONE else body[:300].decode("utf-8", "replace").strip()
    return DialError(f"the server refused the tunnel: {status} {text}".rstrip(), status, body)
