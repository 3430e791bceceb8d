"""The inventory at both ends: what the agent records and sends is what the server ends up with."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.tunnel.reports import (
    Health,
    Inventory,
    InventoryDelta,
    NamespaceReport,
    NodeReport,
    ReportError,
    StateHead,
    StateReport,
    UnknownMessage,
    Usage,
    VersionInfo,
    decode_agent_message,
    decode_server_message,
    encode,
)
from outrider.tunnel.snapshot import OutOfStep, Snapshot, pieces

NAMES = st.sampled_from(["a", "b", "c", "d"])
TEXT = st.text(max_size=8)
NODE = st.builds(NodeReport, name=NAMES, labels=st.dictionaries(TEXT, TEXT, max_size=3))
NAMESPACE = st.builds(NamespaceReport, name=NAMES, project=TEXT)
USAGE = st.dictionaries(
    NAMES, st.builds(Usage, requested=st.dictionaries(TEXT, TEXT, max_size=2)), max_size=3
)
CHANGE = st.builds(
    InventoryDelta,
    reporter=st.just(""),
    sequence=st.just(0),
    digest=st.just(""),
    version=st.none() | st.builds(VersionInfo, git_version=TEXT),
    health=st.none() | st.builds(Health, ok=st.booleans(), message=TEXT),
    strict_tls=st.none() | st.booleans(),
    hints=st.none() | st.lists(TEXT, max_size=2),
    nodes=st.lists(NODE, max_size=3),
    nodes_removed=st.lists(NAMES, max_size=2),
    usage=USAGE,
    namespaces=st.lists(NAMESPACE, max_size=3),
    namespaces_removed=st.lists(NAMES, max_size=2),
)


def over_the_wire(message: Inventory | InventoryDelta) -> Inventory | InventoryDelta:
    decoded = decode_agent_message(encode(message))
    assert isinstance(decoded, Inventory | InventoryDelta)
    return decoded


def receive(messages: list[Inventory | InventoryDelta]) -> Snapshot:
    head = over_the_wire(messages[0])
    assert isinstance(head, Inventory)
    snapshot = Snapshot.received(head)
    for message in messages[1:]:
        assert not snapshot.complete
        delta = over_the_wire(message)
        assert isinstance(delta, InventoryDelta)
        snapshot.apply(delta)
    assert snapshot.complete
    return snapshot


def new_agent() -> Snapshot:
    agent = Snapshot()
    agent.reporter = "r1"
    return agent


def same(one: Snapshot, other: Snapshot) -> bool:
    return (
        (one.nodes, one.usage, one.namespaces) == (other.nodes, other.usage, other.namespaces)
        and (one.version, one.health, one.strict_tls, one.hints)
        == (other.version, other.health, other.strict_tls, other.hints)
        and one.digest == other.digest
    )


@given(before=st.lists(CHANGE, max_size=4), after=st.lists(CHANGE, max_size=4), limit=st.integers(50, 2000))
def test_the_server_follows_every_change(
    before: list[InventoryDelta], after: list[InventoryDelta], limit: int
) -> None:
    agent = new_agent()
    for change in before:
        agent.record(change)
    server = receive(list(pieces(agent.inventory(), limit=limit)))
    assert same(agent, server)
    for change in after:
        delta = over_the_wire(agent.record(change))
        assert isinstance(delta, InventoryDelta)
        server.apply(delta)
    assert same(agent, server)


def test_pieces_stay_below_the_limit() -> None:
    agent = new_agent()
    nodes = [NodeReport(name=f"n{i}", labels={"x": "y" * 500}) for i in range(100)]
    agent.record(InventoryDelta(reporter="", sequence=0, digest="", nodes=nodes))
    messages = list(pieces(agent.inventory(), limit=8000))
    assert len(messages) > 10
    assert max(len(encode(message)) for message in messages) < 8000
    assert same(agent, receive(messages))


def delta_of(agent: Snapshot, name: str) -> InventoryDelta:
    return agent.record(InventoryDelta(reporter="", sequence=0, digest="", nodes=[NodeReport(name=name)]))


def test_a_lost_change_is_noticed() -> None:
    agent = new_agent()
    server = Snapshot.received(agent.inventory())
    delta_of(agent, "a")
    with pytest.raises(OutOfStep, match="arrived after"):
        server.apply(delta_of(agent, "b"))


def test_another_reporter_is_noticed() -> None:
    agent = new_agent()
    server = Snapshot.received(agent.inventory())
    agent.reporter = "r2"
    with pytest.raises(OutOfStep, match="never received"):
        server.apply(delta_of(agent, "a"))


def test_a_wrong_digest_is_noticed() -> None:
    agent = new_agent()
    with pytest.raises(OutOfStep, match="digest"):
        Snapshot.received(msgspec.structs.replace(agent.inventory(), digest="0" * 31 + "1"))


@pytest.mark.parametrize("junk", [b"", b"{}", b"[]", b'{"type":"resync"}', b'{"type":"inventory"}', b"\xff"])
def test_junk_is_refused(junk: bytes) -> None:
    with pytest.raises(ReportError):
        decode_agent_message(junk)


def test_the_server_messages_round_trip() -> None:
    state = StateHead(epoch=3, counter=9, hash="f", parts=(("a", "b"), ("c",)), complete=True)
    assert decode_server_message(encode(state)) == state
    with pytest.raises(ReportError):
        decode_server_message(encode(StateReport(epoch=1, counter=1)))


def test_messages_of_a_newer_peer_are_told_from_junk() -> None:
    with pytest.raises(UnknownMessage):
        decode_server_message(b'{"type":"telepathy","x":1}')
    with pytest.raises(UnknownMessage):
        decode_agent_message(b'{"type":"telepathy"}')
    report = decode_agent_message(b'{"type":"stateReport","epoch":1,"counter":2,"aura":{"colour":"blue"}}')
    assert report == StateReport(epoch=1, counter=2)


def test_nodes_are_held_packed_and_read_as_they_came() -> None:
    snapshot = Snapshot()
    report = NodeReport(
        name="a", uid="u", labels={"x": "é"}, status={"images": [{"names": ["i"], "sizeBytes": 7}]}
    )
    snapshot.nodes["a"] = report
    assert snapshot.nodes["a"] == report
    assert snapshot.nodes["a"] is not snapshot.nodes["a"]
    assert (list(snapshot.nodes), len(snapshot.nodes), "a" in snapshot.nodes) == (["a"], 1, True)
    del snapshot.nodes["a"]
    assert snapshot.nodes.get("a") is None
