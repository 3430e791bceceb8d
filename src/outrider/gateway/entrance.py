"""Lets connections in, up to limits: counted from the moment that they are accepted, before any handshake.

A flood costs whoever sends it more than us: what is too much is closed unread. Between `total` and `total` +
`reserve` only agents' tunnels and probes are served, so that a flood of clients cannot cut off clusters, nor make a
kubelet restart the server. A tunnel is no client: it stops counting as soon as its agent is admitted.
"""

import asyncio
import errno
import ipaddress
import resource
import socket
import ssl
from collections import defaultdict
from collections.abc import Callable
from typing import Any, cast

import aiofastnet
import msgspec
import structlog

from outrider.gateway import answers, routing
from outrider.gateway.config import ConnectionLimits
from outrider.gateway.connection import ClientConnection, Dispatcher
from outrider.gateway.exchange import Exchange

BACKLOG = 4096
BATCH = 64
"""Connections that are accepted in one turn of the loop."""
HANDSHAKE_SECONDS = 10.0
BUFFER = 64 * 1024
"""Bytes of a connection's TLS buffers; several times a kubectl request, and cheap for thousands of idle tunnels."""
RETRY_SECONDS = 0.5
"""Seconds without accepting after the process has run out of descriptors."""
COMPLAINT_SECONDS = 60.0
"""Seconds between two lines in the log that say the same."""
KEPT_DESCRIPTORS = 256
"""Descriptors for everything that is no client's connection."""

CROWDED = answers.unavailable("this server has too many connections right now; try again")

_SPENT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_RESERVED = frozenset({routing.TUNNEL, routing.PING, routing.HEALTH, routing.READY})

_log = structlog.get_logger("outrider.gateway")


class Place:
    """One connection's share of the limits. `spare`: it is one of the reserve."""

    __slots__ = ("_crowd", "_origin", "spare")

    def __init__(self, crowd: "Crowd", origin: str, *, spare: bool) -> None:
        self._crowd: Crowd | None = crowd
        self._origin = origin
        self.spare = spare

    def leave(self) -> None:
        """Gives it back; more than once does no harm."""
        crowd, self._crowd = self._crowd, None
        if crowd is not None:
            crowd.leave(self._origin)


class Crowd:
    """Who is inside. `trusts` tells the addresses of proxies, for which many clients come: they have no limit alone."""

    def __init__(self, limits: ConnectionLimits, trusts: Callable[[str], bool]) -> None:
        self.inside = 0
        self._limits = limits
        self._trusts = trusts
        self._of_origin: defaultdict[str, int] = defaultdict(int)
        self._refused: defaultdict[str, int] = defaultdict(int)

    @property
    def crowded(self) -> bool:
        """Whether the reserve is being used."""
        return self.inside > self._limits.total

    def enter(self, address: str) -> Place | None:
        """A place for a connection from an address; None when there is none."""
        origin = "" if self._trusts(address) else origin_of(address)
        if self.inside >= self._limits.total + self._limits.reserve:
            self._refused["total"] += 1
            return None
        if origin and self._of_origin.get(origin, 0) >= self._limits.per_address:
            self._refused["address"] += 1
            return None
        self.inside += 1
        self._of_origin[origin] += 1
        return Place(self, origin, spare=self.crowded)

    def leave(self, origin: str) -> None:
        """A connection from there is gone."""
        self.inside -= 1
        self._of_origin[origin] -= 1
        if not self._of_origin[origin]:
            del self._of_origin[origin]

    def values(self) -> dict[str, float]:
        """Counters, in Prometheus' text names."""
        name = "outrider_gateway_refused_connections_total"
        return {
            f'{name}{{reason="{reason}"}}': self._refused.get(reason, 0) for reason in ("total", "address")
        }


class Guest(ClientConnection):
    """A client's connection that gives its place back when it ends or becomes a tunnel."""

    __slots__ = ("_place",)

    def __init__(self, dispatcher: Dispatcher, place: Place, *, scheme: str) -> None:
        super().__init__(dispatcher, scheme=scheme)
        self._place = place

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._place.leave()
        super().connection_lost(exc)

    def release(self) -> tuple[asyncio.Transport | None, bytes]:
        """It has become a tunnel."""
        self._place.leave()
        return super().release()


class Reserve:
    """Serves agents and probes; who else comes while the server is full is told so."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self.connected = dispatcher.connected
        self.disconnected = dispatcher.disconnected
        self.switched = dispatcher.switched
        self.finished = dispatcher.finished

    def start(self, exchange: Exchange) -> None:
        """Passes on what the reserve is for."""
        exchange.route = routing.route(exchange.target)[0]
        if exchange.route in _RESERVED:
            return self._dispatcher.start(exchange)
        exchange.close = True
        return exchange.answer(CROWDED)


class Entrance:
    """Accepts on one address. `tls` is None for plain HTTP. Made by `open`."""

    def __init__(
        self, crowd: Crowd, dispatcher: Dispatcher, listening: socket.socket, tls: ssl.SSLContext | None
    ) -> None:
        self._crowd = crowd
        self._dispatcher = dispatcher
        self._reserve = Reserve(dispatcher)
        self._listening = listening
        self._tls = tls
        self._scheme = "http" if tls is None else "https"
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._complain_after = 0.0
        self._retry: asyncio.TimerHandle | None = None
        self._loop.add_reader(listening.fileno(), self._accept)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listening.getsockname()[1])

    def close(self) -> None:
        """Accepts no more, and gives up handshakes; connections that exist go on."""
        if self._listening.fileno() < 0:
            return
        if self._retry is not None:
            self._retry.cancel()
        self._loop.remove_reader(self._listening.fileno())
        self._listening.close()
        for task in self._handshakes:
            task.cancel()

    def _accept(self) -> None:
        for _ in range(BATCH):
            try:
                end, address = self._listening.accept()
            except (BlockingIOError, InterruptedError):
                return None
            except ConnectionError:
                continue  # it was there, and is gone again
            except OSError as error:
                if error.errno not in _SPENT:
                    raise
                return self._rest(error)
            # Without it, the end of an answer in several writes waits for the client's delayed acknowledgement: 40 ms.
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            place = self._crowd.enter(address[0])
            if place is None:
                end.close()
                self._complain("connections are refused: there are too many", newest=address[0])
            else:
                task = self._loop.create_task(self._receive(end, place))
                self._handshakes.add(task)
                task.add_done_callback(self._handshakes.discard)
        return None

    async def _receive(self, end: socket.socket, place: Place) -> None:
        dispatcher = self._reserve if place.spare else self._dispatcher
        tls = self._tls
        try:
            await aiofastnet.connect_accepted_socket(
                self._loop,
                lambda: cast(asyncio.Protocol, Guest(dispatcher, place, scheme=self._scheme)),
                end,
                ssl=tls,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if tls else None,
                ssl_incoming_bio_size=BUFFER if tls else None,
                ssl_outgoing_bio_size=BUFFER if tls else None,
            )
        except OSError:  # no handshake: strangers do that all day
            place.leave()
        except BaseException:
            place.leave()
            end.close()
            raise

    def _rest(self, error: OSError) -> None:
        """The kernel reports the socket as ready as long as somebody waits: looking again at once would burn."""
        self._complain("no connection can be accepted", error=str(error))
        self._loop.remove_reader(self._listening.fileno())
        self._retry = self._loop.call_later(
            RETRY_SECONDS, self._loop.add_reader, self._listening.fileno(), self._accept
        )

    def _complain(self, message: str, **facts: str) -> None:
        now = self._loop.time()
        if now >= self._complain_after:
            self._complain_after = now + COMPLAINT_SECONDS
            _log.warning(message, inside=self._crowd.inside, **facts)


async def bound(host: str, port: int) -> list[socket.socket]:
    """Listening sockets that block nobody, one for each address of a host; raises OSError when there is none."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    made: list[socket.socket] = []
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            made.append(_bound(family, address))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                continue  # a name may have an address that this machine lacks
            for listening in made:
                listening.close()
            raise
    if not made:
        raise OSError(errno.EADDRNOTAVAIL, f"this machine has no address of {host}")
    return made


def _bound(family: int, address: tuple[Any, ...]) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def origin_of(address: str) -> str:
    """What one stranger commands: an IPv4 address, or all of an IPv6 network of 64 bits."""
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))


def fitting(limits: ConnectionLimits, descriptors: int) -> ConnectionLimits:
    """The limits as far as a process with that many descriptors can keep them: a request may need a second one."""
    possible = max(16, (descriptors - KEPT_DESCRIPTORS) // 2)
    reserve = min(limits.reserve, possible // 4)
    return msgspec.structs.replace(limits, total=min(limits.total, possible - reserve), reserve=reserve)


def take_descriptors() -> int:
    """Lets this process open as many files as it may (getrlimit(2)); returns how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
