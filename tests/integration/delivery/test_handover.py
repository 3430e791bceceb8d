"""Servers and an agent on two real API servers, the wire between them counted: what is sent, and who decides."""

from __future__ import annotations

import asyncio
import base64
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.delivery.applier import StateApplier
from outrider.delivery.assembly import Contribution
from outrider.delivery.entries import Entry
from outrider.delivery.errors import DeliveryError, NotReady, TooLarge
from outrider.delivery.fetcher import Fetcher
from outrider.delivery.ledger import LABEL, NAMESPACE
from outrider.delivery.presence import MANAGER
from outrider.delivery.publisher import PartSender, Publisher
from outrider.kit.clock import SystemClock
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.builtin import CONFIGMAPS, NAMESPACES, SECRETS
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.meta import ObjectKey
from outrider.kube.transport import HttpTransport
from outrider.link.messages import Message, ToAgent
from outrider.runtime.controller import Controller, Source
from outrider.runtime.informer import Informer
from outrider.tunnel.reports import (
    StateHead,
    StateHello,
    StatePart,
    StateReport,
    decode_agent_message,
    decode_server_message,
)
from tests.integration.delivery.conftest import config, entry, until, wipe


class Wish:
    """A feature whose wish tests set; `refusal`: why there is none now."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.refusal: DeliveryError | None = None
        self.asked = 0

    @property
    def sources(self) -> Sequence[Source[Any, ObjectKey]]:
        return ()

    async def contribute(self, cluster: Cluster) -> Contribution:
        self.asked += 1
        if self.refusal is not None:
            raise self.refusal
        return Contribution(list(self.entries))


class Line:
    """A tunnel, from the agent to one replica; everything passes through JSON and is counted."""

    def __init__(self, replica: Replica, cluster: str, number: int, fetcher: Fetcher) -> None:
        self.replica, self.cluster, self.number, self.fetcher = replica, cluster, number, fetcher
        self.sent = self.received = 0
        self.messages: list[Any] = []

    def open(self) -> None:
        self.replica.lines[self.number] = self
        self.replica.publisher.opened(self.cluster, self.number)
        self.fetcher.attach(self)

    def send_message(self, body: bytes) -> None:
        self.sent += len(body)
        self.replica.publisher.receive(self.cluster, self.number, decode_agent_message(body))

    def take(self, body: bytes) -> None:
        self.received += len(body)
        message = decode_server_message(body)
        self.messages.append(message)
        if isinstance(message, StateHead):
            self.fetcher.on_head(self, message)
        elif isinstance(message, StatePart):
            self.fetcher.on_part(self, message)


class Replica:
    """A server replica: informer, publisher and controller. It sees one cluster of those that other tests left."""

    def __init__(self, client: Client, cluster: str, epoch: int, *, lease: float = 15.0) -> None:
        self.wish = Wish()
        self.leading = False
        self.epoch = epoch
        self.lines: dict[int, Line] = {}
        self.informer: Informer[Cluster] = Informer(client, CLUSTERS, fields=f"metadata.name={cluster}")
        self.publisher = Publisher(
            client,
            clusters=self.informer,
            contributors=[self.wish],
            send=self.send,
            drain=lambda: asyncio.sleep(0),
            leading=lambda: self.leading,
            epoch=lambda: self.epoch,
            enqueue=self.enqueue,
            enqueue_parts=lambda cluster: self.parts.enqueue(ObjectKey("", cluster)),
            clock=SystemClock(),
            lease=lease,
        )
        self.controller: Controller[ObjectKey] = Controller(
            "tests", self.publisher, workers=2, sources=[Source(self.informer)]
        )
        self.parts: Controller[ObjectKey] = Controller("parts", PartSender(self.publisher), workers=2)
        self.tasks = [asyncio.create_task(one.run()) for one in (self.controller, self.parts)]
        self.following = asyncio.create_task(self.informer.run())

    def enqueue(self, cluster: str) -> None:
        self.controller.enqueue(ObjectKey("", cluster))

    def send(self, message: Message) -> None:
        assert isinstance(message, ToAgent)
        self.lines[message.session].take(bytes(message.body))

    def pause(self) -> None:
        """It sees nothing any more, and still believes that it leads."""
        self.following.cancel()

    async def stop(self) -> None:
        await cancel_and_wait(self.following, *self.tasks)


class Stage:
    """A management cluster with one cluster record, and the agent's cluster."""

    def __init__(self, management: Client, downstream: Client, name: str) -> None:
        self.management, self.downstream, self.name = management, downstream, name
        self.reports: list[StateReport] = []
        self.replicas: list[Replica] = []
        self.applier = StateApplier(downstream, self.told, changed=self.look, retry=0.3, report_every=0.05)
        self.fetcher = Fetcher(self.applier)
        self.task = asyncio.create_task(self.applier.run(1))
        self._numbers = 0

    def told(self, report: StateReport) -> None:
        self.reports.append(report)
        self.fetcher.report(report)

    def look(self) -> None:
        self.fetcher.look()

    async def replica(
        self, epoch: int, *entries: Entry, leading: bool = False, lease: float = 15.0
    ) -> Replica:
        made = Replica(self.management, self.name, epoch, lease=lease)
        made.wish.entries = list(entries)
        made.leading = leading
        self.replicas.append(made)
        await made.informer.wait_synced()
        await asyncio.sleep(0.05)
        return made

    def connect(self, replica: Replica) -> Line:
        self._numbers += 1
        line = Line(replica, self.name, self._numbers, self.fetcher)
        line.open()
        return line

    async def record(self) -> Cluster:
        return await self.management.get(CLUSTERS, self.name)

    async def has(self, hash_: str) -> None:
        await until(
            lambda: self.reports and self.reports[-1].hash == hash_ and not self.reports[-1].pending, 90
        )


Make = Callable[..., Any]


@pytest.fixture
async def stage(crds: None, admin: Client, second_api_server: EmbeddedCluster) -> AsyncIterator[Stage]:
    transport = HttpTransport(second_api_server.access, max_connections=8)
    downstream = Client(transport, field_manager=MANAGER, max_retries=2)
    await downstream.apply(NAMESPACES, {"metadata": {"name": NAMESPACE}})
    await wipe(downstream)
    name = f"c-{uuid4().hex[:5]}"
    await admin.create(CLUSTERS, {"metadata": {"name": name}, "spec": {"displayName": name}})
    made = Stage(admin, downstream, name)
    yield made
    await cancel_and_wait(made.task)
    for replica in made.replicas:
        await replica.stop()
    await admin.delete_if_exists(CLUSTERS, name)
    await wipe(downstream)
    await transport.close()


@pytest.fixture
async def place(stage: Stage) -> str:
    """A namespace in the agent's cluster."""
    name = f"test-{uuid4().hex[:8]}"
    await stage.downstream.create(NAMESPACES, {"metadata": {"name": name}})
    return name


async def test_a_state_of_20_mb(stage: Stage, place: str) -> None:
    rand = random.Random(7)
    objects = [
        entry(config(f"o{n}", place, k=base64.b64encode(rand.randbytes(15_000)).decode()))
        for n in range(1000)
    ]
    leader = await stage.replica(5, *objects, leading=True)
    line = stage.connect(leader)
    leader.enqueue(stage.name)
    begun = time.monotonic()
    await until(lambda: stage.reports and stage.reports[-1].applied == 1000, 120)
    took = time.monotonic() - begun
    assert took < 100
    assert leader.wish.asked < 10, "the state is not derived anew for each batch of parts"
    head = line.messages[0]
    assert len(head.parts) > 80
    assert max(len(msgspec.json.encode(one)) for one in line.messages) < 1 << 20
    kept = (await stage.downstream.list(SECRETS, NAMESPACE, labels=f"{LABEL}=true", limit=20)).items
    assert max(sum(map(len, one["data"].values())) for one in kept) < 512 << 10

    # one object changes: one part travels
    count = len(line.messages)
    leader.wish.entries = [*objects[:-1], entry(config("o999", place, k="changed"))]
    leader.enqueue(stage.name)
    await until(lambda: stage.reports[-1].counter == 2 and not stage.reports[-1].pending, 60)
    kinds = [type(one).__name__ for one in line.messages[count:]]
    assert kinds == ["StateHead", "StatePart"]
    assert (await stage.downstream.get(CONFIGMAPS, "o999", place))["data"] == {"k": "changed"}

    # nothing changes: nothing travels, nothing is written
    await until(lambda: _recorded(stage, 2), 20)
    await asyncio.sleep(0.3)
    before = (line.sent, line.received, (await stage.record()).metadata.resource_version)
    for _ in range(3):
        leader.enqueue(stage.name)
        await asyncio.sleep(0.2)
    assert (line.sent, line.received, (await stage.record()).metadata.resource_version) == before


async def test_a_state_that_is_too_large_says_so_and_changes_nothing(stage: Stage, place: str) -> None:
    leader = await stage.replica(5, entry(config("small", place, k="v")), leading=True)
    stage.connect(leader)
    leader.enqueue(stage.name)
    await until(lambda: stage.reports and stage.reports[-1].applied == 1)
    before = (await stage.record()).status.desired_state
    leader.wish.refusal = TooLarge("a desired state of 120 objects is too large")
    leader.enqueue(stage.name)
    await until(lambda: _problem(stage), 20)
    refused = (await stage.record()).status.desired_state
    assert before is not None
    assert refused is not None
    assert "a desired state of 120 objects" in refused.problem
    assert (refused.epoch, refused.counter, refused.hash) == (before.epoch, before.counter, before.hash)
    assert (await stage.downstream.get(CONFIGMAPS, "small", place))["data"] == {"k": "v"}
    leader.wish.refusal = None
    leader.enqueue(stage.name)
    await until(lambda: _recorded(stage, before.counter + 1), 20)
    assert not await _problem(stage)


async def _problem(stage: Stage) -> str:
    wanted = (await stage.record()).status.desired_state
    return wanted.problem if wanted is not None else ""


async def _recorded(stage: Stage, counter: int) -> bool:
    applied = (await stage.record()).status.applied_state
    return applied is not None and applied.counter == counter


async def test_a_state_that_changes_while_its_parts_travel(stage: Stage, place: str) -> None:
    def entries(tag: str) -> list[Entry]:
        noise = random.Random(tag)
        return [
            entry(config(f"o{n}", place, k=base64.b64encode(noise.randbytes(90_000)).decode(), tag=tag))
            for n in range(60)
        ]

    leader = await stage.replica(5, *entries("first"), leading=True)
    line = stage.connect(leader)
    leader.enqueue(stage.name)
    await until(lambda: sum(isinstance(one, StatePart) for one in line.messages) >= 5)
    leader.wish.entries = entries("second")
    leader.enqueue(stage.name)
    # An agent whose question is not answered asks again after 15 s.
    await until(lambda: stage.applier.kept.counter == 2, 60)
    heads = [one for one in line.messages if isinstance(one, StateHead)]
    sent = sum(isinstance(one, StatePart) for one in line.messages)
    assert len(heads) == 2, "nothing had to be asked for again"
    assert sent < sum(len(head.parts) for head in heads), "the first was given up"
    await until(
        lambda: stage.reports and stage.reports[-1].applied == 60 and stage.reports[-1].counter == 2, 60
    )
    found = await stage.downstream.get(CONFIGMAPS, "o0", place)
    assert found["data"]["tag"] == "second"


async def test_a_replica_without_the_lead_serves_what_the_leader_stamped(stage: Stage, place: str) -> None:
    leader = await stage.replica(5, entry(config("a", place, k="1")), leading=True)
    other = await stage.replica(0)
    line = stage.connect(other)
    leader.enqueue(stage.name)
    await until(lambda: _stamped(stage, 1))
    # the other one derives something else as yet: it sends nothing
    await asyncio.sleep(0.3)
    assert line.messages == []
    other.wish.entries = leader.wish.entries
    other.enqueue(stage.name)
    await until(lambda: stage.reports and stage.reports[-1].applied == 1)
    status = (await stage.record()).status
    assert status.desired_state is not None
    assert (status.desired_state.epoch, status.desired_state.counter) == (5, 1)
    await until(lambda: _recorded(stage, 1))
    applied = (await stage.record()).status.applied_state
    assert applied is not None
    assert [(one.name, one.applied, one.failed) for one in applied.owners] == [("tests", 1, 0)]


async def _stamped(stage: Stage, counter: int) -> bool:
    wanted = (await stage.record()).status.desired_state
    return wanted is not None and wanted.counter == counter


async def test_a_paused_leader_that_comes_back_changes_nothing(stage: Stage, place: str) -> None:
    old = await stage.replica(5, entry(config("a", place, k="old")), leading=True)
    stage.connect(old)
    old.enqueue(stage.name)
    await until(lambda: stage.reports and stage.reports[-1].applied == 1)
    await until(lambda: _recorded(stage, 1))
    await asyncio.sleep(0.2)
    old.pause()

    new = await stage.replica(6, entry(config("a", place, k="new")), leading=True)
    stage.connect(new)
    new.enqueue(stage.name)
    await until(lambda: stage.reports[-1].epoch == 6 and not stage.reports[-1].pending)

    # it wakes: its view is of before, so that its stamp is refused by the API server; its agents know better
    old.wish.entries = [entry(config("a", place, k="older still"))]
    old.enqueue(stage.name)
    await asyncio.sleep(0.5)
    assert stage.applier.kept.version == (6, 1)
    # it sees again, and doubts that it leads: for as long as a lease lasts it stamps nothing
    old.following = asyncio.create_task(old.informer.run())
    old.enqueue(stage.name)
    await asyncio.sleep(0.5)
    record = await stage.record()
    assert record.status.desired_state is not None
    assert (record.status.desired_state.epoch, record.status.desired_state.counter) == (6, 1)
    assert (await stage.downstream.get(CONFIGMAPS, "a", place))["data"] == {"k": "new"}


async def test_a_leader_of_a_lower_epoch_leads_in_the_end(stage: Stage, place: str) -> None:
    """The Lease was lost with its count; whoever leads must be able to deliver all the same."""
    first = await stage.replica(9, entry(config("a", place, k="1")), leading=True)
    stage.connect(first)
    first.enqueue(stage.name)
    await until(lambda: stage.reports and stage.reports[-1].applied == 1)
    first.leading = False
    second = await stage.replica(3, entry(config("a", place, k="2")), leading=True, lease=0.5)
    stage.connect(second)
    second.enqueue(stage.name)
    await until(lambda: stage.reports[-1].counter == 2)
    assert stage.applier.kept.version == (9, 2)


async def test_after_a_restored_backup_the_agent_hears_the_server_again(stage: Stage, place: str) -> None:
    leader = await stage.replica(5, entry(config("a", place, k="1")), leading=True)
    line = stage.connect(leader)
    for value in "123":
        leader.wish.entries = [entry(config("a", place, k=value))]
        leader.enqueue(stage.name)
        await until(lambda value=value: stage.reports and stage.reports[-1].counter == int(value))
    await until(lambda: _recorded(stage, 3))
    # the record is of before: version and hash, and what was reported
    older = {"desiredState": {"epoch": 5, "counter": 1, "hash": "f" * 64, "objects": 1}, "appliedState": None}
    leader.publisher.closed(stage.name, line.number)
    stage.fetcher.detach(line)
    leader.leading = False
    await stage.management.patch(CLUSTERS, stage.name, {"status": older}, subresource="status")
    leader.leading, leader.wish.entries = True, [entry(config("a", place, k="restored"))]
    stage.connect(leader)
    await until(lambda: stage.applier.kept.version > (5, 3))
    await until(lambda: stage.reports[-1].counter > 3)
    assert (await stage.downstream.get(CONFIGMAPS, "a", place))["data"] == {"k": "restored"}


async def test_a_feature_that_cannot_say_takes_nothing_away(stage: Stage, place: str) -> None:
    leader = await stage.replica(5, entry(config("a", place, k="1")), leading=True)
    stage.connect(leader)
    leader.enqueue(stage.name)
    await until(lambda: stage.reports and stage.reports[-1].applied == 1)
    leader.wish.refusal = NotReady("not yet")
    leader.wish.entries = []
    leader.enqueue(stage.name)
    await asyncio.sleep(0.4)
    assert await stage.downstream.get(CONFIGMAPS, "a", place)


async def test_an_agent_that_speaks_another_protocol_is_left_alone(stage: Stage, place: str) -> None:
    leader = await stage.replica(5, entry(config("a", place, k="1")), leading=True)
    line = Line(leader, stage.name, 77, stage.fetcher)
    leader.lines[77] = line
    leader.publisher.opened(stage.name, 77)
    leader.publisher.receive(stage.name, 77, StateHello(protocols=(99,)))
    await until(lambda: _stamped(stage, 1))
    await asyncio.sleep(0.2)
    assert line.messages == []
    # one that knows ours beside a newer one is served
    leader.publisher.receive(stage.name, 77, StateHello(protocols=(1, 99)))
    await until(lambda: line.messages)
