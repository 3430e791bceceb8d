"""Random histories of sets, crashes, restarts and foreign hands, against an oracle that knows only what is wanted.

After every history the applier is given time, and then: all that is wanted is there as it is wanted; nothing
else of what was ever delivered is; what others made is untouched. And at every single moment: whatever was
delivered is named by the ledger, so that nobody's death leaves an orphan.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import zlib
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outrider.delivery.applier import StateApplier
from outrider.delivery.assembly import assemble
from outrider.delivery.entries import LABEL, Entry
from outrider.delivery.ledger import HEAD, NAMESPACE
from outrider.delivery.parts import compress
from outrider.delivery.presence import MANAGER
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.client import Client
from tests.unit.delivery.fake_cluster import FakeCluster, Stored

NAMES = ("a", "b", "c", "d")
PLACES = ("one", "two", "three")
PROJECTS = ("c-1:p-1", "c-1:p-2")


class Wanted(NamedTuple):
    """A set as the oracle sees it: values by (namespace, name), and by (project, name) for templates."""

    plain: tuple[tuple[str, str, str], ...]
    templates: tuple[tuple[str, str, str], ...]
    complete: bool

    def entries(self) -> list[Entry]:
        plain = [
            Entry(owner="tests", object=config(name, value, namespace))
            for namespace, name, value in self.plain
        ]
        templates = [
            Entry(owner="tests", object=config(f"t-{name}", value), project=project)
            for project, name, value in self.templates
        ]
        return plain + templates


def config(name: str, value: str, namespace: str = "") -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"k": value}}


values = st.sampled_from(("1", "2", "3"))
plains = st.dictionaries(st.tuples(st.sampled_from(PLACES), st.sampled_from(NAMES)), values, max_size=8)
templates = st.dictionaries(
    st.tuples(st.sampled_from(PROJECTS), st.sampled_from(("x", "y"))), values, max_size=3
)
sets = st.builds(
    lambda plain, template, complete: Wanted(
        tuple((*key, value) for key, value in sorted(plain.items())),
        tuple((*key, value) for key, value in sorted(template.items())),
        complete,
    ),
    plains,
    templates,
    st.booleans(),
)
places, names = st.sampled_from(PLACES), st.sampled_from((*NAMES, "t-x", "t-y"))
steps = st.one_of(
    st.tuples(st.just("offer"), sets),
    st.tuples(st.just("offer"), sets),
    st.tuples(st.just("stale"), sets),
    st.tuples(st.just("edit"), places, names),
    st.tuples(st.just("strip"), places, names),
    st.tuples(st.just("remove"), places, names),
    st.tuples(st.just("project"), places, st.sampled_from((*PROJECTS, ""))),
    st.tuples(st.just("crash"), st.integers(1, 12), st.sampled_from(("before", "after"))),
    st.tuples(st.just("restart")),
    st.tuples(st.just("stop")),
    st.tuples(st.just("wait"), st.integers(1, 30)),
    st.tuples(st.just("settle")),
    st.tuples(st.just("settle")),
)


class World:
    """A cluster, its applier, and the server that wants something of it."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        for place in (*PLACES, NAMESPACE):
            self.cluster.edit("namespaces", "", place)
        self.cluster.edit("configmaps", "one", "theirs", data_k="theirs")
        self.wrong: list[str] = []
        self.cluster.wrote = self.check
        self.counter = 0
        self.latest: tuple[int, Wanted] | None = None
        self.ever: set[tuple[str, str]] = set()
        self.applier: StateApplier | None = None
        self.task: asyncio.Task[None] | None = None
        self.term = 0

    async def start(self) -> None:
        await self.stop()
        self.cluster.revive()
        self.term += 1
        client = Client(self.cluster, field_manager=MANAGER)
        self.applier = StateApplier(
            client,
            lambda report: None,
            changed=self.offer_latest,
            workers=3,
            retry=0.01,
            report_every=0.001,
        )
        self.task = asyncio.create_task(self.applier.run(self.term))

    async def stop(self) -> None:
        if self.task is not None:
            await cancel_and_wait(self.task)
        self.task = self.applier = None

    def offer_latest(self) -> None:
        """As the server does whenever an agent says that it holds something else."""
        if self.latest is not None and self.applier is not None and self.applier.active:
            self.offer(*self.latest)

    def offer(self, counter: int, wanted: Wanted) -> None:
        made = assemble(wanted.entries(), complete=wanted.complete)
        assert self.applier is not None
        self.applier.offer(made.head(1, counter), {d: compress(part) for d, part in made.parts.items()})

    async def step(self, kind: str, *arguments: Any) -> None:
        match kind:
            case "offer":
                self.counter += 1
                self.latest = (self.counter, arguments[0])
                self.offer_latest()
            case "stale":
                if self.counter > 1 and self.applier is not None and self.applier.kept.counter > 1:
                    self.offer(1, arguments[0])
            case "edit":
                if ("configmaps", *arguments) in self.cluster.objects:
                    self.cluster.edit("configmaps", *arguments, data_k="edited", data_other="kept")
            case "strip":
                if ("configmaps", *arguments) in self.cluster.objects:
                    self.cluster.edit("configmaps", *arguments, **{f"labels_{LABEL}": None})
            case "remove":
                self.cluster.remove("configmaps", *arguments)
            case "project":
                key = "annotations_field.cattle.io/projectId"
                self.cluster.edit("namespaces", "", arguments[0], **{key: arguments[1] or None})
            case "crash":
                self.cluster.die_after(*arguments)
            case "restart":
                await self.start()
            case "stop":
                await self.stop()
            case "wait":
                for _ in range(arguments[0]):
                    await asyncio.sleep(0)
            case "settle":
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.3):
                        while self.applier is not None and not self.settled():
                            await asyncio.sleep(0.001)
        if self.cluster.dead.is_set():
            await self.stop()

    # the oracle

    def wanted(self) -> dict[tuple[str, str], str]:
        if self.latest is None:
            return {}
        found = {}
        for place in PLACES:
            fields = self.cluster.objects[("namespaces", "", place)].section("annotations")
            project = fields.get("field.cattle.io/projectId", "")
            for owner, name, value in self.latest[1].templates:
                if owner == project:
                    found[(place, f"t-{name}")] = value
        for namespace, name, value in self.latest[1].plain:
            found[(namespace, name)] = value
        return found

    def there(self) -> dict[tuple[str, str], str]:
        return {
            (stored.namespace, stored.name): stored.section("data").get("k", "")
            for stored in self.cluster.objects.values()
            if stored.plural == "configmaps" and stored.name != "theirs"
        }

    def settled(self) -> bool:
        wanted, there = self.wanted(), self.there()
        exact = self.latest is None or self.latest[1].complete
        missing = [key for key, value in wanted.items() if there.get(key) != value]
        return not missing and (not exact or not self.leftovers())

    def leftovers(self) -> set[tuple[str, str]]:
        """What was delivered and should have gone; what somebody took over is theirs."""
        ours = {
            (stored.namespace, stored.name)
            for stored in self.cluster.objects.values()
            if stored.plural == "configmaps" and stored.owned.get(MANAGER)
        }
        return ours - self.wanted().keys()

    def check(self, stored: Stored) -> None:
        """At every moment the ledger is whole, and names what was made."""
        try:
            named = named_in_ledger(self.cluster)
        except KeyError as error:
            self.wrong.append(f"the ledger names part {error}, which is not there")
            return
        key = (stored.namespace, stored.name)
        if (
            stored.plural == "configmaps"
            and ("configmaps", *key) in self.cluster.objects
            and key not in named
        ):
            self.wrong.append(f"{key} was made before the ledger named it")


def named_in_ledger(cluster: FakeCluster) -> set[tuple[str, str]]:
    """Read by hand, not with the code under test."""
    head = cluster.objects.get(("secrets", NAMESPACE, HEAD))
    if head is None:
        return set()
    kept = json.loads(base64.b64decode(head.section("data")["head"]))
    blobs = {
        digest: zlib.decompress(base64.b64decode(data))
        for stored in cluster.objects.values()
        if stored.plural == "secrets" and stored.name != HEAD
        for digest, data in stored.section("data").items()
    }
    found = set()
    for group in kept.get("parts", ()):
        for entry in json.loads(b"".join(blobs[digest] for digest in group)):
            if "project" not in entry:
                metadata = entry["object"]["metadata"]
                found.add((metadata["namespace"], metadata["name"]))
    for section in ("extra", "held"):
        for group in kept.get(section, ()):
            for row in json.loads(b"".join(blobs[digest] for digest in group)):
                found.add((row[2], row[3]))
    return found


async def live(history: list[tuple[Any, ...]], restart: bool) -> None:
    world = World()
    await world.start()
    try:
        for step in history:
            await world.step(*step)
        world.cluster.defuse()
        if restart or world.task is None:
            await world.start()
        try:
            async with asyncio.timeout(5):
                while not world.settled():
                    await asyncio.sleep(0.002)
        except TimeoutError:
            raise AssertionError(
                f"wanted {world.wanted()}, there {world.there()}, left over {world.leftovers()}"
            ) from None
        assert world.cluster.objects[("configmaps", "one", "theirs")].section("data") == {"k": "theirs"}
        await quiet(world)
        assert world.wrong == []
    finally:
        await world.stop()


async def quiet(world: World) -> None:
    """After a while nothing is written any more."""
    async with asyncio.timeout(3):
        before = -1
        while world.cluster.writes != before:
            before = world.cluster.writes
            await asyncio.sleep(0.05)


@settings(max_examples=70, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, max_size=14), st.booleans())
def test_any_history_ends_well(history: list[tuple[Any, ...]], restart: bool) -> None:
    asyncio.run(live(history, restart))
