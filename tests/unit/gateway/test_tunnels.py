"""Registration of tunnels and what belongs to it, without sockets; the rest is in the data path's integration tests."""

import asyncio
import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from outrider.gateway import admission, tunnels
from outrider.gateway.admission import Reception, decode_params
from outrider.gateway.backends import Bearer, ClaimHeader, Impersonation
from outrider.gateway.forwarding import Forwarding
from outrider.gateway.tunnels import TunnelRegistry, TunnelSession
from outrider.kube.identity import Identity
from outrider.kube.kubeconfig import ClusterAccess
from outrider.link.messages import Admission, CloseSessions, ToAgent
from outrider.tunnel.exchange import CredentialError
from tests.support.tunnels import End, Tunnel
from tests.support.wire import Script
from tests.unit.gateway.desk import Desk, body, get, status, turn

HANDSHAKE = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
    b"X-API-Tunnel-Token: secret",
)


class Office:
    """A reception whose control process is the test."""

    def __init__(self, patience: float = 10.0) -> None:
        self.asked: list[Any] = []
        self.told: list[Any] = []
        self.adopted: list[tuple[Any, bytes]] = []
        self.registry = TunnelRegistry(self.told.append)
        self.reception = Reception(self.asked.append, self.registry, patience=patience)
        self.desk = Desk()
        self.desk.dispatcher._tunnel = self.reception.receive

    async def knock(self, *lines: bytes, after: bytes = b"") -> Any:
        client = self.desk.client()
        client.feed(get(b"/v3/connect/register", *HANDSHAKE, *lines, token=b"") + after)
        await turn(10)
        return client

    async def admit(self, **fields: Any) -> None:
        admitted = {"status": 200, "cluster": "c-1", "registration": "r-1"} | fields
        self.reception.on_admission(Admission(id=self.asked[-1].id, **admitted))
        await turn(10)


@pytest.fixture
async def office(monkeypatch: pytest.MonkeyPatch) -> Office:
    office = Office()

    def adopt(transport: Any, head: bytes, session: Any) -> None:
        office.adopted.append((transport, head))
        session.on_ws_connected(End(session, 1000))

    monkeypatch.setattr(admission, "adopt", adopt)
    return office


def params(value: Any) -> bytes:
    return b"X-API-Tunnel-Params: " + base64.b64encode(json.dumps(value).encode())


class TestAdmission:
    async def test_an_agent_is_let_in(self, office: Office) -> None:
        client = await office.knock(params({"cluster": {"address": "a"}}), b"User-Agent: agent/1")
        (question,) = office.asked
        assert (question.token, question.params) == ("secret", {"cluster": {"address": "a"}})
        assert (question.remote, question.agent_version) == ("192.0.2.7", "agent/1")
        assert "secret" not in repr(question)
        await office.admit()
        ((transport, head),) = office.adopted
        assert transport is client
        assert head.startswith(b"GET /v3/connect HTTP/1.1\r\nhost: outrider.test\r\n")
        assert b"Sec-WebSocket-Key: MDEy" in head
        assert b"secret" not in head
        (opened,) = office.told
        assert (opened.cluster, opened.registration, opened.remote) == ("c-1", "r-1", "192.0.2.7")
        assert office.registry.find("c-1") is not None
        assert not office.desk.dispatcher.connections
        session = office.registry.find("c-1")
        assert session is not None
        session._transport.lose()  # type: ignore[union-attr]
        await turn(10)
        assert office.registry.find("c-1") is None
        assert office.told[-1].session == opened.session

    @pytest.mark.parametrize("code", [400, 401, 403, 503])
    async def test_or_not(self, office: Office, code: int) -> None:
        client = await office.knock()
        await office.admit(status=code, message="because")
        answer = client.take()
        assert (status(answer), body(answer)) == (code, b"because")
        assert client.closed
        assert not list(office.registry)

    async def test_control_does_not_answer(self) -> None:
        office = Office(patience=0.01)
        client = await office.knock()
        await asyncio.sleep(0.03)
        assert status(client.take()) == 503
        assert not office.reception._asked
        await office.admit()  # too late
        assert not list(office.registry)

    async def test_whoever_leaves_meanwhile_is_no_tunnel(self, office: Office) -> None:
        client = await office.knock()
        client.vanish()
        await office.admit()
        assert not list(office.registry)
        assert not office.told

    async def test_a_plain_request_is_told_what_is_missing(self, office: Office) -> None:
        client = office.desk.client()
        client.feed(get(b"/v3/connect", token=b""))
        await turn(10)
        answer = client.take()
        assert status(answer) == 400
        assert b"Upgrade" in body(answer)
        assert not office.asked

    async def test_an_error_of_ours_is_an_answer(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*arguments: Any) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(admission, "adopt", fail)
        client = await office.knock()
        await office.admit()
        assert client.closed

    async def test_a_client_that_was_held_back_reads_again_as_a_tunnel(self, office: Office) -> None:
        client = await office.knock(after=b"early" * 200_000)
        assert not client.reading
        await office.admit()
        assert client.reading
        assert office.adopted[0][1].endswith(b"\r\n\r\n" + b"early" * 200_000)

    @pytest.mark.parametrize(
        "value",
        [b"x", b"eA==", base64.b64encode(b"[1]"), base64.b64encode(b"[" * 40_000), b"A" * 50_000, b"\xff"],
    )
    async def test_params_that_are_none(self, office: Office, value: bytes) -> None:
        with pytest.raises(ValueError, match="registration parameters"):
            decode_params(value)
        client = await office.knock(b"X-API-Tunnel-Params: " + value)
        assert status(client.take()) == 400
        assert not office.asked

    def test_no_params_are_empty_params(self) -> None:
        assert decode_params(b"") == {}


class TestRegistry:
    async def build(self) -> tuple[TunnelRegistry, list[Any], list[Tunnel]]:
        told: list[Any] = []
        registry = TunnelRegistry(told.append)
        tunnels = []
        for number, cluster in enumerate(["c-1", "c-1", "c-2"]):
            session = registry.create(cluster, registration=f"r-{number}", remote="", version="1")
            tunnels.append(Tunnel(Script(), server=session))
        return registry, told, tunnels

    async def test_messages_go_where_they_should(self) -> None:
        registry, told, tunnels = await self.build()
        registry.on_message(ToAgent(cluster="c-1", body=b"{}"))  # type: ignore[arg-type]
        registry.on_message(ToAgent(cluster="c-1", session=told[1].session, body=b"[]"))  # type: ignore[arg-type]
        registry.on_message(ToAgent(cluster="c-9", body=b"{}"))  # type: ignore[arg-type]
        for tunnel in tunnels:
            await tunnel.settle()
        assert [tunnel.messages for tunnel in tunnels] == [[b"{}"], [b"{}", b"[]"], []]

    async def test_messages_come_with_who_sent_them(self) -> None:
        _, told, tunnels = await self.build()
        tunnels[2].agent.send_message(b'{"a":1}')
        await tunnels[2].settle()
        assert (told[-1].cluster, told[-1].session, bytes(told[-1].body)) == (
            "c-2",
            told[2].session,
            b'{"a":1}',
        )

    @pytest.mark.parametrize(
        ("registration", "left"), [("", ["c-2"]), ("r-0", ["c-1", "c-2"]), ("r-9", ["c-1"] * 2 + ["c-2"])]
    )
    async def test_registrations_that_end_close_their_sessions(
        self, registration: str, left: list[str]
    ) -> None:
        registry, _, tunnels = await self.build()
        registry.on_close(CloseSessions(cluster="c-1", registration=registration, reason="deleted"))
        for tunnel in tunnels:
            await tunnel.settle()
        assert [session.cluster for session in registry] == left

    async def test_every_session_is_announced_to_a_new_control_process(self) -> None:
        registry, told, _ = await self.build()
        first = list(told)
        registry.announce()
        assert told[3:] == first

    async def test_stopping_closes_all(self) -> None:
        registry, _, tunnels = await self.build()
        registry.close()
        for tunnel in tunnels:
            await tunnel.settle()
        assert not list(registry)


class TestForwarding:
    def exchange(self, remote: str, **special: str) -> Any:
        names = {key.replace("_", "-").encode(): value.encode() for key, value in special.items()}
        line = f"x-forwarded-for: {remote}\r\n".encode()
        connection = SimpleNamespace(remote=remote, scheme="http", forwarded_line=line)
        return SimpleNamespace(connection=connection, host=b"inner", special=names)

    SPOOFED: dict[str, str] = {  # noqa: RUF012
        "x_forwarded_for": "198.51.100.1, 10.0.0.2",
        "x_forwarded_proto": "https",
        "x_forwarded_host": "outer",
    }

    def test_strangers_are_not_believed(self) -> None:
        forwarding = Forwarding(["10.0.0.0/8"])
        exchange = self.exchange("192.0.2.1", **self.SPOOFED)
        assert forwarding.client(exchange) == ("192.0.2.1", "http", "inner")
        assert forwarding.line(exchange) == b"x-forwarded-for: 192.0.2.1\r\n"

    @pytest.mark.parametrize("remote", ["10.0.0.9", "::ffff:10.0.0.9"])
    def test_proxies_are(self, remote: str) -> None:
        forwarding = Forwarding(["10.0.0.0/8"])
        exchange = self.exchange(remote, **self.SPOOFED)
        assert forwarding.client(exchange) == ("198.51.100.1", "https", "outer")
        assert forwarding.line(exchange).endswith(f"198.51.100.1, 10.0.0.2, {remote}\r\n".encode())

    def test_but_only_as_far_as_they_vouch(self) -> None:
        forwarding = Forwarding(["10.0.0.0/8"])
        exchange = self.exchange(
            "10.0.0.9", x_forwarded_for="127.0.0.1, 198.51.100.1", x_forwarded_proto="gopher"
        )
        assert forwarding.client(exchange) == ("198.51.100.1", "http", "inner")

    def test_nobody_by_default(self) -> None:
        exchange = self.exchange("127.0.0.1", **self.SPOOFED)
        assert Forwarding().client(exchange) == ("127.0.0.1", "http", "inner")


class TestCredentials:
    def claim(self, user: str = "u-1", *groups: str) -> bytes:
        return json.dumps({"user": user, "groups": groups}).encode()

    def test_who_it_is_for(self) -> None:
        source = Impersonation(lambda: b"authorization: Bearer x\r\n")
        assert source.header_block(self.claim("u-1", "g")) == (
            b"authorization: Bearer x\r\nImpersonate-User: u-1\r\nImpersonate-Group: g\r\n"
        )

    @pytest.mark.parametrize("user", ["", "a\r\nImpersonate-Group: system:masters", "a\x00", " a"])
    async def test_who_cannot_be_carried_is_refused_in_words(self, user: str) -> None:
        source = Impersonation(lambda: b"")
        assert source.header_block(self.claim(user)) is None
        with pytest.raises(CredentialError, match="you cannot be impersonated"):
            await source.prepare(self.claim(user))

    def test_a_claim_cannot_add_lines(self) -> None:
        block = ClaimHeader().header_block(b"e30")
        assert block == b"x-outrider-claim: e30\r\n"

    def test_a_token_file_is_looked_at_once_a_second(self, tmp_path: Path) -> None:
        file = tmp_path / "token"
        file.write_text("one\n")
        now = 100.0
        bearer = Bearer(ClusterAccess(server="https://x", token_file=file), lambda: now)
        assert bearer() == b"authorization: Bearer one\r\n"
        file.write_text("three\n")
        assert bearer() == b"authorization: Bearer one\r\n"
        now += 1.1
        assert bearer() == b"authorization: Bearer three\r\n"

    async def test_a_token_file_that_is_gone(self, tmp_path: Path) -> None:
        source = Impersonation(
            Bearer(ClusterAccess(server="https://x", token_file=tmp_path / "none"), lambda: 0.0)
        )
        assert source.header_block(self.claim()) is None
        with pytest.raises(CredentialError, match="no credential of its own"):
            await source.prepare(self.claim())


async def test_a_session_is_not_found_while_it_closes() -> None:
    registry = TunnelRegistry(lambda message: None)
    old = registry.create("c-1", registration="", remote="", version="")
    new = registry.create("c-1", registration="", remote="", version="")
    for session in (old, new):
        session.on_ws_connected(End(session, 1000))  # type: ignore[arg-type]
    assert registry.find("c-1") is new
    new.close("x")
    assert registry.find("c-1") is old
    assert isinstance(old, TunnelSession)
    assert Identity("u").groups == ()


async def test_a_cluster_cannot_open_tunnels_without_end(office: Office) -> None:
    for _ in range(tunnels.MOST):
        assert not (await office.knock()).take()
        await office.admit()
    assert len(office.adopted) == tunnels.MOST
    more = await office.knock()
    await office.admit()
    answer = more.take()
    assert status(answer) == 429
    assert b"too many tunnels" in body(answer)
    other = await office.knock()
    await office.admit(cluster="c-2")
    assert not other.take()
    assert len(office.adopted) == tunnels.MOST + 1
