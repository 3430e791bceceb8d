from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider.agent.reporter import Facts, Reporter
from outrider.agent.usage import Pod
from outrider.kube.meta import ObjectKey
from outrider.tunnel.reports import (
    Health,
    Inventory,
    InventoryDelta,
    NamespaceReport,
    NodeReport,
    decode_agent_message,
)
from outrider.tunnel.snapshot import Snapshot


class Server:
    """Follows the messages as the server does, and fails on the first that is out of step."""

    def __init__(self) -> None:
        self.messages: list[Inventory | InventoryDelta] = []
        self.snapshot = Snapshot()

    def send_message(self, body: bytes) -> None:
        message = decode_agent_message(body)
        assert isinstance(message, Inventory | InventoryDelta)
        self.messages.append(message)
        if isinstance(message, Inventory):
            self.snapshot = Snapshot.received(message)
        else:
            self.snapshot.apply(message)


def pod(node: str, cpu: str) -> Pod:
    spec = {"nodeName": node, "containers": [{"resources": {"requests": {"cpu": cpu}}}]}
    return msgspec.convert({"metadata": {"name": "p"}, "spec": spec}, Pod)


async def test_nothing_is_sent_before_the_first_lists_were_read() -> None:
    reporter, server = Reporter("r"), Server()
    reporter.attach(server)
    reporter.node_changed("n1", NodeReport(name="n1"))
    reporter.flush()
    assert server.messages == []
    reporter.mark_ready()
    assert list(server.snapshot.nodes) == ["n1"]
    assert server.snapshot.complete


async def test_only_changes_are_sent() -> None:
    reporter, server = Reporter("r"), Server()
    reporter.node_changed("n1", NodeReport(name="n1"))
    reporter.mark_ready()
    reporter.attach(server)
    assert [type(m) for m in server.messages] == [Inventory]

    reporter.node_changed("n1", NodeReport(name="n1"))
    reporter.facts_changed(Facts())
    reporter.flush()
    assert len(server.messages) == 1

    reporter.namespace_changed("a", NamespaceReport(name="a"))
    reporter.facts_changed(Facts(health=Health(ok=False, message="etcd")))
    reporter.flush()
    delta = server.messages[-1]
    assert isinstance(delta, InventoryDelta)
    assert (delta.nodes, [n.name for n in delta.namespaces]) == ([], ["a"])
    assert delta.health == Health(ok=False, message="etcd")


async def test_sums_of_pods_travel_with_their_nodes_only() -> None:
    reporter, server = Reporter("r"), Server()
    reporter.attach(server)
    reporter.mark_ready()
    reporter.pods.put(ObjectKey("a", "p"), pod("n1", "2"))
    reporter.flush()
    assert server.snapshot.usage == {}
    reporter.node_changed("n1", NodeReport(name="n1"))
    reporter.flush()
    assert server.snapshot.usage["n1"].requested["cpu"] == "2"
    reporter.node_changed("n1", None)
    reporter.flush()
    assert server.snapshot.usage == {}


async def test_a_resync_sends_everything_again() -> None:
    reporter, server = Reporter("r"), Server()
    reporter.attach(server)
    reporter.mark_ready()
    reporter.node_changed("n1", NodeReport(name="n1"))
    reporter.resync(server)
    assert isinstance(server.messages[-1], Inventory)
    assert list(server.snapshot.nodes) == ["n1"]


async def test_a_closed_tunnel_hears_nothing_more() -> None:
    reporter, server = Reporter("r"), Server()
    reporter.attach(server)
    reporter.mark_ready()
    count = len(server.messages)
    reporter.detach(server)
    reporter.node_changed("n1", NodeReport(name="n1"))
    reporter.flush()
    reporter.resync(server)
    assert len(server.messages) == count


async def test_much_is_cut_into_pieces() -> None:
    reporter, server = Reporter("r"), Server()
    reporter.attach(server)
    reporter.mark_ready()
    for number in range(40):
        reporter.node_changed(f"n{number}", NodeReport(name=f"n{number}", annotations={"big": "x" * 100_000}))
    reporter.flush()
    deltas = server.messages[1:]
    assert len(deltas) > 2
    assert [m.more for m in deltas] == [True] * (len(deltas) - 1) + [False]
    assert len(server.snapshot.nodes) == 40

    late = Server()
    reporter.attach(late)
    assert late.snapshot.digest == server.snapshot.digest


change = st.tuples(
    st.sampled_from(["node", "namespace", "pod", "unpod", "flush", "facts"]),
    st.sampled_from("abc"),
    st.integers(0, 2),
)


@settings(max_examples=60)
@given(st.lists(change, max_size=40))
async def test_the_server_always_ends_up_with_what_the_agent_saw(changes: list[tuple[str, str, int]]) -> None:
    reporter, early, late = Reporter("r"), Server(), Server()
    reporter.attach(early)
    reporter.mark_ready()
    nodes: set[str] = set()
    for what, name, number in changes:
        if what == "node":
            reporter.node_changed(name, NodeReport(name=name, uid=str(number)) if number else None)
            nodes = nodes | {name} if number else nodes - {name}
        elif what == "namespace":
            reporter.namespace_changed(
                name, NamespaceReport(name=name, project=str(number)) if number else None
            )
        elif what == "pod":
            reporter.pods.put(ObjectKey("x", name), pod("abc"[number], "1"))
        elif what == "unpod":
            reporter.pods.remove(ObjectKey("x", name))
        elif what == "facts":
            reporter.facts_changed(Facts(hints=["docker"] * number))
        else:
            reporter.flush()
    reporter.attach(late)
    assert early.snapshot.digest == late.snapshot.digest
    assert set(early.snapshot.nodes) == nodes == set(early.snapshot.usage)
    for node in nodes:
        assert early.snapshot.usage[node] == reporter.pods.usage(node)
