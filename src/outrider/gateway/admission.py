"""Takes over an agent's WebSocket handshake: asks control whether it may register, then makes it a tunnel."""

import asyncio
import base64
import binascii
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from outrider.gateway import answers
from outrider.gateway.exchange import Exchange
from outrider.gateway.tunnels import TunnelRegistry, TunnelSession
from outrider.link.messages import Admission, Admit
from outrider.tunnel.session import adopt

_log = structlog.get_logger("outrider.gateway.tunnels")

MAX_PARAMS = 48 * 1024
TOO_MANY = answers.text(
    429, b"this cluster has too many tunnels to this replica: close those that nobody needs"
)
_UNREACHABLE = Admission(id=0, status=503, message="the control process does not answer right now")


class Reception:
    """Admits agents. `ask` sends an Admit to control; `patience` is how long it may take, in seconds."""

    def __init__(
        self, ask: Callable[[Admit], None], tunnels: TunnelRegistry, *, patience: float = 10.0
    ) -> None:
        self._ask = ask
        self._tunnels = tunnels
        self._patience = patience
        self._asked: dict[int, asyncio.Future[Admission]] = {}
        self._next = 0

    async def receive(self, exchange: Exchange) -> None:
        """Answers the handshake: 101 and a tunnel, or the refusal (contract, clusters-and-agents §3.1)."""
        try:
            await self._receive(exchange)
        except Exception:
            _log.exception("a tunnel could not be opened")
            exchange.answer(answers.text(500, b"the tunnel could not be opened: internal error"))

    async def _receive(self, exchange: Exchange) -> None:
        if exchange.upgrade.lower() != b"websocket":
            return exchange.answer(
                answers.text(400, b"a tunnel is a WebSocket: the Upgrade header is missing")
            )
        try:
            params = decode_params(exchange.header(b"x-api-tunnel-params"))
        except ValueError as error:
            return exchange.answer(answers.text(400, str(error).encode()))
        admission = await self._admission(exchange, params)
        if exchange.done:
            return None
        if admission.status != 200:
            return exchange.answer(answers.text(admission.status, admission.message.encode()))
        if self._tunnels.is_full(admission.cluster):
            return exchange.answer(TOO_MANY)
        return self._open(exchange, admission)

    def on_admission(self, admission: Admission) -> None:
        """Control's answer."""
        future = self._asked.pop(admission.id, None)
        if future is not None and not future.done():
            future.set_result(admission)

    async def _admission(self, exchange: Exchange, params: dict[str, Any]) -> Admission:
        number = self._next = self._next + 1
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        self._ask(
            Admit(
                id=number,
                token=exchange.header(b"x-api-tunnel-token").decode("latin-1"),
                params=params,
                remote=exchange.connection.remote,
                agent_version=exchange.header(b"user-agent").decode("latin-1")[:100],
            )
        )
        try:
            return await asyncio.wait_for(future, self._patience)
        except TimeoutError:
            return _UNREACHABLE
        finally:
            self._asked.pop(number, None)

    def _open(self, exchange: Exchange, admission: Admission) -> None:
        connection = exchange.connection
        head = b"".join(
            (
                b"GET /v3/connect HTTP/1.1\r\nhost: "
                + exchange.host
                + b"\r\nconnection: upgrade\r\nupgrade: websocket\r\n",
                *(line for line in exchange.lines if line[:13].lower() == b"sec-websocket"),
                b"\r\n",
            )
        )
        session = self._tunnels.create(
            admission.cluster,
            registration=admission.registration,
            remote=connection.remote,
            version=exchange.header(b"user-agent").decode("latin-1")[:100],
        )
        exchange.done = True
        transport, early = connection.release()
        if transport is None:
            return
        try:
            adopt(transport, head + early, session)
        except Exception:
            transport.abort()  # nobody else would
            raise
        _record(exchange, admission, session)


def _record(exchange: Exchange, admission: Admission, session: TunnelSession) -> None:
    """The tunnel's opening and its end are on record, as those of any other upgraded exchange."""
    dispatcher = exchange.connection.dispatcher
    exchange.status = 101
    exchange.switched = True
    exchange.cluster = admission.cluster
    # the registration token must not live as long as the tunnel
    exchange.lines = []
    exchange.special = {k: v for k, v in exchange.special.items() if k.startswith(b"x-forwarded-")}
    dispatcher.switched(exchange)
    session.closed.add_done_callback(lambda _: dispatcher.finished(exchange))


def decode_params(value: bytes) -> dict[str, Any]:
    """The agent's registration parameters: base64 of JSON; raises ValueError with the contract's texts (§3.2)."""
    if not value:
        return {}
    if len(value) > MAX_PARAMS:
        raise ValueError("registration parameters are too large")
    try:
        decoded = msgspec.json.decode(base64.b64decode(value, validate=True))
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"registration parameters are not base64 of JSON: {error}") from error
    if not isinstance(decoded, dict):
        raise ValueError("registration parameters are not a JSON object")  # noqa: TRY004  the sender's mistake
    return decoded
