"""Whatever happens on the way, an informer ends with what the server has, and its events tell the same story."""

import asyncio
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider.kit.backoff import Backoff
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.builtin import CONFIGMAPS
from outrider.kube.client import Client
from outrider.kube.errors import TransportError
from outrider.kube.meta import ObjectKey
from outrider.kube.transport import Request, Response
from outrider.runtime.informer import Event, Informer
from tests.support.clock import FakeClock, settle
from tests.support.fake_api import FakeApi

Step = tuple[str, ...]

changes = st.one_of(
    st.tuples(st.just("put"), st.sampled_from("abcd"), st.sampled_from("mn")),
    st.tuples(st.just("drop"), st.sampled_from("abcd"), st.sampled_from("mn")),
)
trouble = st.tuples(st.sampled_from(("settle", "wait", "end", "reset", "expire", "gone", "refuse", "heal")))


def missed(steps: list[Step]) -> list[Step]:
    """Changes that happen, and are forgotten by the server, while nobody watches."""
    return [("settle",), ("reset",), ("settle",), *steps, ("expire",), ("wait",)]


episodes = st.one_of(
    st.lists(changes | trouble, min_size=1, max_size=8), st.lists(changes, min_size=1, max_size=8).map(missed)
)
scripts = st.lists(episodes, max_size=8).map(lambda parts: [step for part in parts for step in part])


class Story:
    """What the events say, checked for contradictions as they come."""

    def __init__(self) -> None:
        self.objects: dict[ObjectKey, dict[str, Any]] = {}

    def tell(self, event: Event[dict[str, Any]]) -> None:
        key = CONFIGMAPS.key(event.new if event.new is not None else event.old or {})
        if event.type == "ADDED":
            assert key not in self.objects
            assert event.old is None
        else:
            assert key in self.objects
            uid = CONFIGMAPS.uid(self.objects[key])
            assert event.old is not None
            assert CONFIGMAPS.uid(event.old) == uid
            if event.new is not None:
                # An object made again is told as a deletion and an addition.
                assert CONFIGMAPS.uid(event.new) == uid
                old, new = map(CONFIGMAPS.resource_version, (self.objects[key], event.new))
                assert int(old) < int(new)
        if event.new is None:
            del self.objects[key]
        else:
            self.objects[key] = event.new


def refuse(request: Request) -> TransportError:
    return TransportError("connection refused")


def expire_pages(request: Request) -> Response | None:
    if "continue=" not in request.path:
        return None
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    return Response(status=410, headers={}, body=msgspec.json.encode(status))


async def act(api: FakeApi, clock: FakeClock, step: Step) -> None:
    match step:
        case "put", name, namespace:
            api.put(CONFIGMAPS, name, namespace)
        case "drop", name, namespace:
            if ("configmaps", namespace, name) in api.objects:
                api.drop(CONFIGMAPS, name, namespace)
        case ("settle",):
            await settle()
        case ("wait",):
            await clock.advance(3)
        case ("end",):
            api.cut()
        case ("reset",):
            api.cut(TransportError("reset"))
        case ("expire",):
            api.expire()
        case ("gone",):
            api.interfere = expire_pages
        case ("refuse",):
            api.interfere = refuse
        case ("heal",):
            api.interfere = None


async def live(script: list[Step]) -> None:
    api, clock, story = FakeApi(CONFIGMAPS), FakeClock(), Story()
    failures: list[BaseException] = []

    def handler(event: Event[dict[str, Any]]) -> None:
        try:
            story.tell(event)
        except AssertionError as failure:
            failures.append(failure)

    informer = Informer(Client(api), CONFIGMAPS, page_size=2, backoff=Backoff(0.1, 2), clock=clock)
    informer.subscribe(handler)
    task = asyncio.create_task(informer.run())
    try:
        for step in script:
            await act(api, clock, step)
        api.interfere = None
        for _ in range(4):
            await clock.advance(5)
        assert informer.synced
        expected = {(namespace, name): obj for (_, namespace, name), obj in api.objects.items()}
        held = {CONFIGMAPS.key(obj): obj for obj in informer.list()}
        assert held == expected
        assert story.objects == expected
        assert not failures, failures
    finally:
        await cancel_and_wait(task)


@settings(max_examples=200, deadline=None)
@given(scripts)
def test_it_converges(script: list[Step]) -> None:
    asyncio.run(live(script))
