"""The gateway's tunnels: sessions by cluster, newest first; silent ones are dropped."""

import asyncio
from collections.abc import Callable, Iterator

import msgspec
import structlog
from picows import WSTransport

from outrider.link.messages import CloseSessions, FromAgent, SessionClosed, SessionOpened, ToAgent
from outrider.tunnel.server import ServerSession

_log = structlog.get_logger("outrider.gateway.tunnels")

MOST = 32
"""Tunnels that a cluster may have at one replica: a few for each replica of its agent, and those being replaced."""

Tell = Callable[[SessionOpened | SessionClosed | FromAgent], None]
"""Sends a message to control; raises nothing."""


class TunnelSession(ServerSession):
    """A session that knows which registration opened it, and hands on what its agent says."""

    def __init__(
        self,
        number: int,
        cluster: str,
        *,
        registration: str,
        remote: str,
        version: str,
        tell: Tell,
        opened: Callable[["TunnelSession"], None],
    ) -> None:
        super().__init__(number, cluster)
        self.registration = registration
        self.remote = remote
        self.version = version
        self._tell = tell
        self._opened = opened

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The tunnel counts from here on, before its agent says anything."""
        super().on_ws_connected(transport)
        self._opened(self)

    def on_message(self, body: bytes) -> None:
        """A control message of the agent's goes to control, unparsed."""
        self._tell(FromAgent(cluster=self.cluster, session=self.id, body=msgspec.Raw(body)))

    def announcement(self) -> SessionOpened:
        """What control is told of this session."""
        return SessionOpened(
            cluster=self.cluster,
            session=self.id,
            registration=self.registration,
            remote=self.remote,
            agent_version=self.version,
        )


class TunnelRegistry:
    """All sessions of this replica.

    `sweep`, which the owner calls every few seconds, drops sessions whose agent was silent for `silence` seconds.
    """

    def __init__(self, tell: Tell, *, silence: float = 30.0) -> None:
        self._tell = tell
        self._silence = silence
        self._loop = asyncio.get_running_loop()
        self._sessions: dict[str, list[TunnelSession]] = {}
        self._next = 0
        self._greeting = b""

    def __iter__(self) -> Iterator[TunnelSession]:
        return (session for sessions in self._sessions.values() for session in sessions)

    def find(self, cluster: str) -> TunnelSession | None:
        """The newest session of a cluster that takes requests."""
        for session in reversed(self._sessions.get(cluster, ())):
            if session.usable:
                return session
        return None

    def is_full(self, cluster: str) -> bool:
        """Whether a cluster has as many tunnels here as it may have."""
        return len(self._sessions.get(cluster, ())) >= MOST

    def create(self, cluster: str, *, registration: str, remote: str, version: str) -> TunnelSession:
        """A session for an agent that has been admitted; it counts once it is connected."""
        self._next += 1
        return TunnelSession(
            self._next,
            cluster,
            registration=registration,
            remote=remote,
            version=version,
            tell=self._tell,
            opened=self._add,
        )

    def _add(self, session: TunnelSession) -> None:
        self._sessions.setdefault(session.cluster, []).append(session)
        session.closed.add_done_callback(lambda closed: self._remove(session, closed.result()))
        _log.info("tunnel opened", cluster=session.cluster, session=session.id, remote=session.remote)
        if self._greeting:
            session.send_message(self._greeting)
        self._tell(session.announcement())

    def greet(self, body: bytes) -> None:
        """Sends a control message to every agent, and to each that comes from now on before all others."""
        self._greeting = body
        for session in self:
            session.send_message(body)

    def announce(self) -> None:
        """Tells control of every session; after control has restarted."""
        for session in self:
            self._tell(session.announcement())

    def on_message(self, message: ToAgent) -> None:
        """Sends a control message to a cluster's agents."""
        for session in self._sessions.get(message.cluster, ()):
            if message.session in {0, session.id}:
                session.send_message(bytes(message.body))

    def on_close(self, message: CloseSessions) -> None:
        """Closes the sessions of a cluster, or those of one registration."""
        for session in list(self._sessions.get(message.cluster, ())):
            if message.registration in {"", session.registration}:
                session.close(message.reason or "closed by the server")

    def sweep(self) -> None:
        """Drops sessions that have gone silent."""
        oldest = self._loop.time() - self._silence
        for session in [s for s in self if s.heard < oldest]:
            session.drop(f"the agent was silent for {self._silence:.0f} s")

    def close(self) -> None:
        """Closes every session: the server stops."""
        for session in list(self):
            session.close("the server stops")

    def _remove(self, session: TunnelSession, reason: str) -> None:
        sessions = self._sessions[session.cluster]
        sessions.remove(session)
        if not sessions:
            del self._sessions[session.cluster]
        _log.info("tunnel closed", cluster=session.cluster, session=session.id, reason=reason)
        self._tell(SessionClosed(cluster=session.cluster, session=session.id, reason=reason))
