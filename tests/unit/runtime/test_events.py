import re

import pytest

from outrider.kube.builtin import CONFIGMAPS, EVENTS
from outrider.kube.client import Client
from outrider.kube.errors import TransportError
from outrider.runtime.events import Events, ObjectReference, reference
from tests.support.clock import FakeClock
from tests.support.fake_api import FakeApi

ABOUT = ObjectReference(api_version="management.cattle.io/v3", kind="Cluster", name="c-abc", uid="u1")


def written(api: FakeApi) -> list[dict[str, object]]:
    return [obj for (plural, _, _), obj in sorted(api.objects.items()) if plural == "events"]


async def test_an_event_says_what_happened_to_what() -> None:
    api, clock = FakeApi(EVENTS), FakeClock()
    await Events(Client(api), "outrider", clock=clock).event(ABOUT, "Warning", "Disconnected", "no agent")
    [event] = written(api)
    assert event["involvedObject"] == {
        "apiVersion": "management.cattle.io/v3", "kind": "Cluster", "name": "c-abc", "uid": "u1",
    }  # fmt: skip
    assert (event["type"], event["reason"], event["message"]) == ("Warning", "Disconnected", "no agent")
    assert (event["count"], event["lastTimestamp"]) == (1, "2030-01-01T00:00:00Z")
    assert event["source"] == {"component": "outrider"}
    assert event["metadata"]["namespace"] == "default"  # type: ignore[index]


async def test_equal_events_only_count() -> None:
    api, clock = FakeApi(EVENTS), FakeClock()
    events = Events(Client(api), "outrider", clock=clock)
    for _ in range(3):
        await events.event(ABOUT, "Normal", "Tick", "one")
        await clock.advance(60)
    await events.event(ABOUT, "Normal", "Tick", "two")
    assert [(e["message"], e["count"]) for e in written(api)].count(("one", 3)) == 1
    [counted] = [e for e in written(api) if e["message"] == "one"]
    assert (counted["firstTimestamp"], counted["lastTimestamp"]) == (
        "2030-01-01T00:00:00Z",
        "2030-01-01T00:02:00Z",
    )
    assert len(written(api)) == 2


async def test_an_event_that_has_expired_is_written_anew() -> None:
    api, clock = FakeApi(EVENTS), FakeClock()
    events = Events(Client(api), "outrider", clock=clock)
    await events.event(ABOUT, "Normal", "Tick", "one")
    [(_, namespace, name)] = api.objects
    api.drop(EVENTS, name, namespace)
    await clock.advance(3600)
    await events.event(ABOUT, "Normal", "Tick", "one")
    assert [e["count"] for e in written(api)] == [1]


async def test_one_object_cannot_flood() -> None:
    api, clock = FakeApi(EVENTS), FakeClock()
    events = Events(Client(api), "outrider", clock=clock, burst=3, interval=10)
    for number in range(10):
        await events.event(ABOUT, "Normal", "Tick", str(number))
        await clock.advance(0.001)
    assert len(written(api)) == 3
    other = ObjectReference(api_version="v1", kind="Node", name="n1")
    await events.event(other, "Normal", "Tick", "x")
    await clock.advance(10)
    await events.event(ABOUT, "Normal", "Tick", "later")
    assert len(written(api)) == 5


async def test_failures_are_logged_and_not_raised(caplog: pytest.LogCaptureFixture) -> None:
    api = FakeApi(EVENTS)
    api.interfere = lambda request: TransportError("no route")
    await Events(Client(api), "outrider").event(ABOUT, "Normal", "Tick", "one")
    assert "the event Tick of Cluster c-abc was not written: no route" in caplog.text


@pytest.mark.parametrize("name", ["system:node:A_b", "x" * 253, ":::", "Ünïcode"])
async def test_any_object_name_makes_a_valid_event_name(name: str) -> None:
    api = FakeApi(EVENTS)
    about = ObjectReference(api_version="v1", kind="Thing", name=name)
    await Events(Client(api), "outrider").event(about, "Normal", "Tick", "m" * 5000)
    [event] = written(api)
    found = event["metadata"]["name"]  # type: ignore[index]
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", found)
    assert len(found) <= 253
    assert len(event["message"]) == 1024  # type: ignore[arg-type]


async def test_memory_is_bounded() -> None:
    api = FakeApi(EVENTS)
    events = Events(Client(api), "outrider", capacity=5)
    for number in range(20):
        about = ObjectReference(api_version="v1", kind="Thing", name=f"t{number}")
        await events.event(about, "Normal", "Tick", "x")
    assert len(events._known) == len(events._buckets) == 5


def test_a_reference_is_made_from_an_object() -> None:
    obj = {"metadata": {"name": "a", "namespace": "n", "uid": "u"}}
    assert reference(CONFIGMAPS, obj) == ObjectReference(
        api_version="v1", kind="ConfigMap", name="a", namespace="n", uid="u"
    )
