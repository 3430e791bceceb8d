"""Two replicas on loopback: a request takes one hop over mutual TLS, whole, and never a second one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.gateway.config import PeerAddress
from outrider.gateway.peer_door import PeerDesk, PeerDoor, is_replica
from outrider.gateway.peering import Peering
from outrider.gateway.peers import ForwardedClaim, PeerTable
from outrider.kit import pki
from outrider.link import messages
from outrider.link.messages import PEER_GROUP, Peer, PeerMaterial, Peers
from outrider.tunnel.frames import Request
from outrider.tunnel.reports import Hello, decode_server_message
from tests.support.wire import Call, Script
from tests.unit.gateway.desk import Tunnels

NOW = datetime.now(UTC)
AUTHORITY = pki.create_authority("peers", now=NOW)
CLAIM = b'{"user":"u-alice","groups":["system:authenticated"],"extra":{}}'


def material(name: str, authority: pki.Credential = AUTHORITY, group: str = PEER_GROUP) -> PeerMaterial:
    held = pki.issue_server(authority, name, groups=[group], now=NOW, dns=[name], client=True)
    return PeerMaterial(
        certificate=held.cert_pem.decode(), key=held.key_pem.decode(), ca=authority.cert_pem.decode()
    )


class Client:
    """A Responder that gathers an answer."""

    def __init__(self) -> None:
        self.status = 0
        self.lines = b""
        self.body = bytearray()
        self.trailers = b""
        self.reset = ""
        self.refused = False
        self.held = False
        self.done = asyncio.Event()
        self.switched = asyncio.Event()

    def on_head(self, status: int, length: int, lines: bytes, body: bytes | memoryview, last: bool) -> None:
        self.status, self.lines = status, bytes(lines)
        self.body += body
        if status == 101:
            self.switched.set()
        if last:
            self.done.set()

    def on_data(self, data: bytes | memoryview) -> None:
        self.body += data

    def on_end(self, trailers: bytes) -> None:
        self.trailers = trailers
        self.done.set()

    def on_reset(self, reason: str, *, refused: bool = False) -> None:
        self.reset, self.refused = reason, refused
        self.done.set()

    def pause_sending(self) -> None:
        self.held = True

    def resume_sending(self) -> None:
        self.held = False

    async def end(self) -> None:
        async with asyncio.timeout(10):
            await self.done.wait()


class Pair:
    """Replica `b` holds the tunnel of c-1; replica `a` asks it."""

    def __init__(self) -> None:
        self.cluster = Script()
        self.desk = PeerDesk(Tunnels({"c-1": self.cluster}))  # type: ignore[arg-type]
        self.door = PeerDoor(self.desk)
        self.table = PeerTable(asyncio.get_running_loop().time)
        self.port = 0

    async def open(self, theirs: PeerMaterial, ours: PeerMaterial) -> None:
        self.door.use(theirs)
        self.port = await self.door.listen("127.0.0.1", 0)
        self.table.use(ours)
        self.follow("c-1", "c-2")

    def follow(self, *clusters: str, port: int = 0) -> None:
        peer = Peer(replica="b", address=f"127.0.0.1:{port or self.port}", clusters=clusters)
        self.table.follow(Peers(replica="a", others=(peer,)))

    def ask(self, head: bytes = b"GET /version HTTP/1.1\r\n", cluster: str = "c-1", **more: Any) -> Any:
        route = self.table.find(cluster)
        assert route is not None
        client = Client()
        return client, route.open(Request(head, **more), CLAIM, client)

    async def taken(self, number: int = 1) -> Call:
        """The call that reaches the tunnel."""
        async with asyncio.timeout(10):
            while len(self.cluster.calls) < number:
                await asyncio.sleep(0.002)
        return self.cluster.calls[number - 1]

    async def close(self) -> None:
        self.door.close()
        await self.table.close()
        for connection in list(self.desk.connections):
            connection.abort("over")
        async with asyncio.timeout(5):
            while self.desk.connections:
                await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def paired(theirs: PeerMaterial | None = None, ours: PeerMaterial | None = None) -> AsyncIterator[Pair]:
    pair = Pair()
    await pair.open(theirs or material("b"), ours or material("a"))
    try:
        yield pair
    finally:
        await pair.close()


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with paired() as one:
        yield one


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


# the way of a request


async def test_a_request_arrives_as_it_left_with_the_claim_beside_it(pair: Pair) -> None:
    head = b"GET /api/v1/pods?limit=5 HTTP/1.1\r\naccept: application/json\r\nx-forwarded-for: 192.0.2.1, 192.0.2.2\r\n"
    client, _ = pair.ask(head)
    call = await pair.taken()
    assert call.claim == CLAIM
    assert call.target == b"/api/v1/pods?limit=5"
    assert call.lines[0:] == [b"accept: application/json", b"x-forwarded-for: 192.0.2.1, 192.0.2.2"]
    call.answer(b'{"kind":"PodList"}', lines=b"content-type: application/json\r\naudit-id: 7\r\n")
    await client.end()
    assert (client.status, bytes(client.body)) == (200, b'{"kind":"PodList"}')
    assert b"content-type: application/json\r\naudit-id: 7\r\n" in client.lines
    assert pair.table.values() == {'outrider_gateway_forwarded_requests_total{replica="b"}': 1}
    assert pair.desk.values() == {'outrider_gateway_peer_answers_total{code="2xx"}': 1}


async def test_connections_are_kept(pair: Pair) -> None:
    for number in range(1, 20):
        client, _ = pair.ask()
        (await pair.taken(number)).answer(b"x")
        await client.end()
    assert len(pair.desk.connections) == 1


@pytest.mark.parametrize("sized", [True, False])
async def test_bodies_go_both_ways(pair: Pair, sized: bool) -> None:
    data = bytes(range(256)) * 4000
    client, upstream = pair.ask(b"POST /api HTTP/1.1\r\n", length=len(data) if sized else -1)
    for start in range(0, len(data), 60_000):
        upstream.send(data[start : start + 60_000])
    upstream.finish()
    call = await pair.taken()
    await until(lambda: call.finished)
    assert bytes(call.body) == data
    assert call.request.length == (len(data) if sized else -1)
    call.responder.on_head(200, len(data) if sized else -1, b"", b"", False)
    call.responder.on_data(data)
    call.responder.on_end(b"" if sized else b"x-checksum: 1\r\n")
    await client.end()
    assert bytes(client.body) == data
    assert client.trailers == (b"" if sized else b"x-checksum: 1\r\n")


async def test_a_slow_reader_slows_the_tunnel_down_and_nothing_is_lost(pair: Pair) -> None:
    client, upstream = pair.ask()
    call = await pair.taken()
    call.responder.on_head(200, -1, b"", b"", False)
    await until(lambda: client.status)
    upstream.pause()
    chunk, sent = b"x" * 65536, 0
    while not call.paused:
        call.responder.on_data(chunk)
        sent += len(chunk)
        assert sent < 64 << 20, "the tunnel was never slowed down"
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    assert len(client.body) < sent
    upstream.resume()
    await until(lambda: not call.paused)
    call.responder.on_end(b"")
    await client.end()
    assert len(client.body) == sent


async def test_a_slow_cluster_slows_the_sender_down(pair: Pair) -> None:
    client, upstream = pair.ask(b"POST /api HTTP/1.1\r\n", length=-1)
    upstream.send(b"x")
    call = await pair.taken()
    call.responder.pause_sending()
    sent = 1
    while not client.held:
        upstream.send(b"x" * 65536)
        sent += 65536
        assert sent < 64 << 20, "the sender was never slowed down"
        await asyncio.sleep(0)
    call.responder.resume_sending()
    await until(lambda: not client.held)
    upstream.finish()
    await until(lambda: call.finished)
    assert len(call.body) == sent
    call.answer()
    await client.end()


async def test_a_fast_sender_waits_for_the_connection_to_the_peer(pair: Pair) -> None:
    client, upstream = pair.ask(b"POST /api HTTP/1.1\r\n", length=-1)
    sent = 0
    while not client.held:
        upstream.send(b"x" * 65536)
        sent += 65536
        assert sent <= 1 << 20, "nobody told the sender to wait"
    upstream.send(b"on its way already")
    await until(lambda: not client.held)
    upstream.send(b"and on")
    upstream.finish()
    call = await pair.taken()
    await until(lambda: call.finished)
    assert bytes(call.body) == b"x" * sent + b"on its way already" + b"and on"
    call.answer()
    await client.end()
    assert client.status == 200


async def test_an_upgraded_stream_passes(pair: Pair) -> None:
    client, upstream = pair.ask(b"POST /exec HTTP/1.1\r\n", upgrade=b"SPDY/3.1")
    call = await pair.taken()
    assert call.request.upgrade == b"SPDY/3.1"
    call.responder.on_head(101, -1, b"x-stream-protocol-version: v4.channel.k8s.io\r\n", b"hello", False)
    async with asyncio.timeout(10):
        await client.switched.wait()
    assert b"v4.channel.k8s.io" in client.lines
    upstream.send(b"from the client")
    await until(lambda: bytes(call.body) == b"from the client")
    call.responder.on_data(b" and on")
    await until(lambda: bytes(client.body) == b"hello and on")
    call.responder.on_end(b"")
    await client.end()
    assert not client.reset


async def test_a_client_that_leaves_frees_the_tunnel(pair: Pair) -> None:
    _, upstream = pair.ask()
    call = await pair.taken()
    upstream.reset()
    await until(lambda: call.resets)


async def test_half_an_answer_is_not_taken_for_a_whole_one(pair: Pair) -> None:
    client, _ = pair.ask()
    call = await pair.taken()
    call.responder.on_head(200, -1, b"", b"half", False)
    await until(lambda: client.status)
    call.responder.on_reset("tunnel disconnect")
    await client.end()
    assert client.reset


async def test_a_request_that_never_left_is_answered_so(pair: Pair) -> None:
    client, _ = pair.ask()
    call = await pair.taken()
    call.responder.on_reset("the tunnel is closing", refused=True)
    await client.end()
    assert client.status == 503
    assert b"retry-after: 5\r\n" in client.lines


# loops and strangers


async def test_what_comes_from_a_peer_goes_into_a_tunnel_or_nowhere(pair: Pair) -> None:
    client, _ = pair.ask(cluster="c-2")
    await client.end()
    assert client.status == 503
    assert b"no tunnel to this server" in client.body
    assert not pair.cluster.calls


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"x-outrider-cluster: c-1\r\n",
        b"x-outrider-claim: e30=\r\n",
        b"x-outrider-cluster: c-1\r\nx-outrider-claim: \xff\r\n",
        b"x-outrider-cluster: c-1\r\nx-outrider-claim: abc\r\n",
        b"x-outrider-cluster: c-1, c-1\r\nx-outrider-claim: e30=\r\n",
        b"x-outrider-cluster: C-1\r\nx-outrider-claim: e30=\r\n",
        b"x-outrider-cluster: c-1\r\nx-outrider-claim: e30=\r\nauthorization: Bearer x\r\n",
        b"x-outrider-cluster: c-1\r\nx-outrider-claim: e30=\r\ncookie: R_SESS=x\r\n",
    ],
)
async def test_a_peer_that_sends_no_forwarded_request_is_refused(pair: Pair, lines: bytes) -> None:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", pair.port, ssl=pair.table._context, server_hostname="b"
    )
    writer.write(b"GET /version HTTP/1.1\r\nhost: peer\r\nconnection: close\r\n" + lines + b"\r\n")
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert not pair.cluster.calls


FOREIGN = pki.create_authority("peers", now=NOW)
SERVER_ONLY = pki.issue_server(AUTHORITY, "a", groups=[PEER_GROUP], now=NOW, dns=["a"])


@pytest.mark.parametrize(
    "ours",
    [
        material("a", FOREIGN),
        material("a", group="outrider:agents"),
        PeerMaterial(
            certificate=SERVER_ONLY.cert_pem.decode(),
            key=SERVER_ONLY.key_pem.decode(),
            ca=AUTHORITY.cert_pem.decode(),
        ),
    ],
    ids=["foreign", "another group", "no client"],
)
async def test_a_stranger_is_not_let_in(ours: PeerMaterial) -> None:
    trusting = msgspec.structs.replace(ours, ca=AUTHORITY.cert_pem.decode())
    async with paired(ours=trusting) as pair:
        client, _ = pair.ask()
        await client.end()
        assert client.reset
        assert not pair.cluster.calls
        assert not pair.desk.values()


async def test_nobody_who_is_not_that_replica_gets_a_claim() -> None:
    for theirs in (material("c"), material("b", FOREIGN)):
        async with paired(theirs=theirs) as pair:
            client, _ = pair.ask()
            await client.end()
            assert client.reset
            assert client.refused
            assert not pair.cluster.calls


async def test_before_there_is_a_certificate_nobody_comes_in_or_is_asked() -> None:
    pair = Pair()
    pair.port = await pair.door.listen("127.0.0.1", 0)
    pair.follow("c-1")
    assert pair.table.find("c-1") is None
    pair.table.use(material("a"))
    client, _ = pair.ask()
    await client.end()
    assert client.reset
    await pair.close()


@given(st.dictionaries(st.sampled_from(["subject", "issuer"]), st.lists(st.text()), max_size=2))
def test_a_certificate_without_both_names_is_no_replicas(certificate: dict[str, Any]) -> None:
    odd = {key: [[("commonName", text)] for text in texts] for key, texts in certificate.items()}
    assert not is_replica(odd)
    assert not is_replica(None)
    assert not is_replica({"issuer": [[("organizationName", PEER_GROUP)], [("commonName", "a")]]})
    assert is_replica({"subject": [[("organizationName", PEER_GROUP)], [("commonName", "a")]]})


@given(
    st.from_regex(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True),
    st.binary(min_size=1, max_size=500),
)
def test_a_forwarded_claim_is_two_header_lines_whatever_it_holds(cluster: str, identity: bytes) -> None:
    block = ForwardedClaim().header_block(cluster.encode() + b" " + identity)
    assert block is not None
    assert block.count(b"\r\n") == 2
    assert block.endswith(b"\r\n")
    assert block.startswith(b"x-outrider-cluster: " + cluster.encode() + b"\r\nx-outrider-claim: ")


# who lives


async def test_a_peer_that_cannot_be_reached_is_not_asked_for_a_while(
    pair: Pair, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outrider.gateway.peers.SUSPECT_SECONDS", 0.2)
    pair.follow("c-1", port=free_port)
    client, _ = pair.ask()
    await client.end()
    assert client.refused
    assert "another server replica" in client.reset
    assert pair.table.find("c-1") is None
    await until(lambda: pair.table.find("c-1") is not None)


async def test_streams_survive_a_peer_that_is_taken_for_dead(pair: Pair) -> None:
    client, _ = pair.ask()
    call = await pair.taken()
    pair.table.follow(Peers(replica="a"))
    pair.table.sweep()
    assert pair.table.find("c-1") is None
    call.responder.on_head(200, -1, b"", b"", False)
    call.responder.on_data(b"still here")
    call.responder.on_end(b"")
    await client.end()
    assert bytes(client.body) == b"still here"
    assert pair.table.values() == {'outrider_gateway_forwarded_requests_total{replica="b"}': 1}


async def test_a_peer_without_an_address_is_none() -> None:
    table = PeerTable(asyncio.get_running_loop().time)
    table.use(material("a"))
    table.follow(Peers(replica="a", others=(Peer(replica="b", clusters=("c-1",)),)))
    assert table.find("c-1") is None
    assert table.find("c-9") is None


# what agents and control hear


class Greeted:
    """A registry without tunnels that remembers greetings."""

    def __init__(self, count: int = 0) -> None:
        self.count = count
        self.greetings: list[Hello] = []

    def __iter__(self) -> Any:
        return iter(range(self.count))

    def find(self, cluster: str) -> None:
        return None

    def greet(self, body: bytes) -> None:
        message = decode_server_message(body)
        assert isinstance(message, Hello)
        self.greetings.append(message)


async def never(exchange: Any) -> None:
    raise AssertionError("nobody dials")


async def test_agents_hear_of_replicas_that_come_and_go_and_of_nothing_else() -> None:
    tunnels = Greeted(count=1000)
    peering = Peering(None, tunnels, tell=lambda message: None, receive=never)  # type: ignore[arg-type]
    peering.on_peers(Peers(replica="a"))
    peering.on_peers(Peers(replica="a", others=(Peer(replica="b", address="127.0.0.1:1"),)))
    peering.on_peers(Peers(replica="a", others=(Peer(replica="b", address="127.0.0.1:1", clusters=("c",)),)))
    peering.on_peers(Peers(replica="a"))
    assert [one.replicas for one in tunnels.greetings] == [("a",), ("a", "b"), ("a",)]
    assert {one.replica for one in tunnels.greetings} == {"a"}
    assert tunnels.greetings[0].spread == 20.0, "a thousand agents dial over 20 s"
    await peering.close()


async def test_control_hears_where_the_door_is_each_time_it_comes_back() -> None:
    told: list[messages.PeerDoor] = []
    peering = Peering(
        PeerAddress(listen="127.0.0.1", host="peers.test"),
        Greeted(),  # type: ignore[arg-type]
        tell=told.append,
        receive=never,
    )
    peering.announce()
    assert told == []
    peering.on_material(material("a"))
    await until(lambda: told)
    peering.on_material(material("a"))
    peering.announce()
    host, _, port = told[0].address.rpartition(":")
    assert host == "peers.test"
    assert int(port) > 0
    assert told == [told[0]] * 2
    await peering.close()


class Handshake:
    def __init__(self, met: bytes) -> None:
        self.met = met
        self.answers: list[int] = []

    def header(self, name: bytes) -> bytes:
        return self.met if name == b"x-outrider-met" else b""

    def answer(self, answer: Any) -> None:
        self.answers.append(answer.status)


@pytest.mark.parametrize(
    ("met", "refused"), [(b"", False), (b"b", False), (b"a", True), (b"b,a", True), (b"aa,b", False)]
)
async def test_an_agent_is_sent_on_by_a_replica_that_it_has_met(met: bytes, refused: bool) -> None:
    taken: list[Any] = []

    async def take(exchange: Any) -> None:
        taken.append(exchange)

    peering = Peering(None, Greeted(), tell=lambda message: None, receive=take)  # type: ignore[arg-type]
    early, handshake = Handshake(met), Handshake(met)
    await peering.receive(early)  # type: ignore[arg-type]
    peering.on_peers(Peers(replica="a", others=(Peer(replica="b"),)))
    await peering.receive(handshake)  # type: ignore[arg-type]
    assert taken == ([early] if refused else [early, handshake])
    assert handshake.answers == ([409] if refused else [])
    await peering.close()


# more than one holder


def with_a_dead_holder(pair: Pair) -> None:
    """`dead` is asked first, and refuses connections."""
    dead = Peer(replica="dead", address="127.0.0.1:1", clusters=("c-1",))
    alive = Peer(replica="b", address=f"127.0.0.1:{pair.port}", clusters=("c-1",))
    pair.table.follow(Peers(replica="a", others=(dead, alive)))


@pytest.mark.parametrize("upgrade", [b"", b"websocket"])
async def test_a_request_that_meets_a_dead_holder_goes_to_the_next_one(pair: Pair, upgrade: bytes) -> None:
    with_a_dead_holder(pair)
    client, upstream = pair.ask(upgrade=upgrade)
    upstream.finish()
    upstream.pause()
    call = await pair.taken()
    upstream.resume()
    assert call.claim == CLAIM
    call.answer(b"alive")
    await client.end()
    assert (client.status, bytes(client.body)) == (200, b"alive")
    pair.ask()
    await pair.taken(2)
    assert set(pair.table.values()) == {
        'outrider_gateway_forwarded_requests_total{replica="dead"}',
        'outrider_gateway_forwarded_requests_total{replica="b"}',
    }
    assert sum(pair.table.values().values()) == 3, "the second request did not try the dead one again"


async def test_a_request_whose_body_is_on_its_way_is_not_sent_again(pair: Pair) -> None:
    with_a_dead_holder(pair)
    client, upstream = pair.ask(b"POST /api HTTP/1.1\r\n", length=4)
    upstream.send(b"body")
    await client.end()
    assert (client.refused, "cannot be reached" in client.reset) == (True, True)
    assert pair.cluster.calls == []


async def test_a_request_that_was_given_up_tries_nobody_else(pair: Pair) -> None:
    with_a_dead_holder(pair)
    client, upstream = pair.ask()
    upstream.reset()
    await asyncio.sleep(0.1)
    assert pair.cluster.calls == []
    assert not client.done.is_set()


async def test_when_no_holder_can_be_reached_the_last_reason_is_told(pair: Pair) -> None:
    dead = [Peer(replica=f"d{n}", address="127.0.0.1:1", clusters=("c-1",)) for n in range(3)]
    pair.table.follow(Peers(replica="a", others=tuple(dead)))
    client, _ = pair.ask()
    await client.end()
    assert client.refused
    assert "cannot be reached" in client.reset
    assert pair.table.find("c-1") is None, "all are suspect"
