import asyncio
from typing import Any

import msgspec
import pytest

from outrider.apis.management.cluster import Cluster
from outrider.features.auth.freshness import LIFETIME, UNSETTLED_LIFETIME, Freshness, Heart
from outrider.kube.client import Client
from outrider.kube.meta import ObjectMeta
from outrider.kube.transport import Response
from outrider.link.messages import Invalidate
from outrider.runtime.informer import Event
from tests.support.clock import FakeClock
from tests.support.fake_api import FakeApi
from tests.unit.features.auth.samples import a_token, a_user, groups


class Listener:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.freshness = Freshness(self.clock, gather=0.001)
        self.heard: list[Invalidate] = []
        self._following = self.freshness.subscribed(self.heard.append)
        self._following.__enter__()

    async def after(self, *changes: Any) -> Invalidate | None:
        self.heard.clear()
        for handler, event in changes:
            handler(event)
        await asyncio.sleep(0.02)
        assert len(self.heard) <= 1
        return self.heard[0] if self.heard else None


@pytest.fixture
def listener():
    listener = Listener()
    yield listener
    listener.freshness.close()


def changed(old: Any, **fields: Any) -> Event:
    return Event("MODIFIED", old, msgspec.structs.replace(old, **fields))


def added(obj: Any) -> Event:
    return Event("ADDED", None, obj)


def deleted(obj: Any) -> Event:
    return Event("DELETED", obj, None)


def binding(*subjects: tuple[str, str], role: str = "cluster-admin") -> dict[str, Any]:
    return {
        "metadata": {"name": "b"},
        "roleRef": {"kind": "ClusterRole", "name": role},
        "subjects": [{"kind": kind, "name": name} for kind, name in subjects],
    }


async def test_a_new_process_starts_above_every_generation_of_an_old_one(listener):
    earlier = Freshness(listener.clock)
    for _ in range(100):
        earlier.everything_changed()
    earlier.close()
    await listener.clock.advance(1)
    assert Freshness(listener.clock).generation > earlier.generation


@pytest.mark.parametrize(
    "event",
    [
        deleted(a_token()),
        added(a_token()),
        changed(a_token(), enabled=False),
        changed(a_token(), token="$3:1:other:hash"),
        changed(a_token(), ttl=1),
    ],
)
async def test_a_changed_token_is_named(listener, event):
    before = listener.freshness.generation
    message = await listener.after((listener.freshness.token_changed, event))
    assert message == Invalidate(generation=before + 1, tokens=("token-abcde",))
    assert listener.freshness.generation == before + 1


async def test_use_and_activity_of_a_token_void_nothing(listener):
    before = listener.freshness.generation
    event = changed(
        a_token(), last_used_at="2030-01-01T00:00:00Z", activity_last_seen_at="2030-01-01T00:00:00Z"
    )
    assert await listener.after((listener.freshness.token_changed, event)) is None
    assert listener.freshness.generation == before


async def test_a_changed_user_is_named(listener):
    for event in (deleted(a_user()), changed(a_user(), enabled=False)):
        message = await listener.after((listener.freshness.user_changed, event))
        assert message is not None
        assert message.users == ("user-abcde",)
    event = changed(a_user(), description="new")
    assert await listener.after((listener.freshness.user_changed, event)) is None


async def test_changed_groups_name_their_user(listener):
    old, new = groups(github=["a"]), groups(github=["b"])
    message = await listener.after((listener.freshness.attribute_changed, Event("MODIFIED", old, new)))
    assert message is not None
    assert message.users == ("user-abcde",)
    same = groups(github=["b"])
    assert await listener.after((listener.freshness.attribute_changed, Event("MODIFIED", new, same))) is None


async def test_a_changed_password_names_its_user(listener):
    old = {"metadata": {"name": "user-abcde"}, "data": {"password": "a"}}
    new = {"metadata": {"name": "user-abcde"}, "data": {"password": "b"}}
    message = await listener.after((listener.freshness.password_changed, Event("MODIFIED", old, new)))
    assert message is not None
    assert message.users == ("user-abcde",)
    message = await listener.after((listener.freshness.password_changed, deleted(new)))
    assert message is not None
    assert message.users == ("user-abcde",)


async def test_a_binding_names_its_users_and_a_group_means_everybody(listener):
    users = binding(("User", "user-a"), ("ServiceAccount", "sa"))
    message = await listener.after((listener.freshness.binding_changed, added(users)))
    assert message is not None
    assert (message.users, message.everything) == (("user-a",), False)
    moved = Event("MODIFIED", users, binding(("User", "user-b")))
    message = await listener.after((listener.freshness.binding_changed, moved))
    assert message is not None
    assert message.users == ("user-a", "user-b")
    message = await listener.after((listener.freshness.binding_changed, added(binding(("Group", "g")))))
    assert message is not None
    assert message.everything


async def test_a_role_means_everybody_unless_its_rules_stay(listener):
    old = {"metadata": {"name": "r"}, "rules": [{"verbs": ["get"]}]}
    message = await listener.after((listener.freshness.role_changed, deleted(old)))
    assert message is not None
    assert message.everything
    labelled = {"metadata": {"name": "r", "labels": {"a": "b"}}, "rules": old["rules"]}
    assert await listener.after((listener.freshness.role_changed, Event("MODIFIED", old, labelled))) is None


async def test_changes_of_one_moment_travel_together(listener):
    message = await listener.after(
        (listener.freshness.token_changed, deleted(a_token("token-1"))),
        (listener.freshness.token_changed, deleted(a_token("token-2"))),
        (listener.freshness.user_changed, deleted(a_user())),
    )
    assert message is not None
    assert message.tokens == ("token-1", "token-2")
    assert message.users == ("user-abcde",)
    assert message.generation == listener.freshness.generation


async def test_verdicts_live_one_second_within_two_of_a_role_change_and_thirty_otherwise(listener):
    freshness, clock = listener.freshness, listener.clock
    assert freshness.lifetime() == UNSETTLED_LIFETIME == 1
    await clock.advance(2)
    assert freshness.lifetime() == LIFETIME == 30
    for handler, event in (
        (freshness.role_changed, deleted({"metadata": {"name": "r"}})),
        (freshness.binding_changed, deleted(binding(("ServiceAccount", "sa")))),
    ):
        handler(event)
        assert freshness.lifetime() == 1
        await clock.advance(1.9)
        assert freshness.lifetime() == 1
        await clock.advance(0.1)
        assert freshness.lifetime() == 30


async def test_whoever_comes_back_hears_first_that_nothing_holds(listener):
    heard: list[Invalidate] = []
    with listener.freshness.subscribed(heard.append):
        assert heard == [Invalidate(generation=listener.freshness.generation, everything=True)]
    listener.freshness.everything_changed()
    await asyncio.sleep(0.02)
    assert len(heard) == 1


async def test_a_subscriber_that_fails_does_not_keep_others_from_hearing(listener):
    def broken(message: Invalidate) -> None:
        if not message.everything:
            raise RuntimeError("link closed")

    with listener.freshness.subscribed(broken):
        assert await listener.after((listener.freshness.token_changed, deleted(a_token()))) is not None


async def test_the_heart_beats_only_while_the_api_server_answers_and_all_is_synced():
    clock, api = FakeClock(), FakeApi()
    freshness = Freshness(clock)
    state = {"synced": False, "reachable": True}

    def answer(request: Any) -> Response:
        return Response(status=200 if state["reachable"] else 500, headers={}, body=b"{}")

    api.interfere = answer
    heart = Heart(Client(api), freshness, lambda: state["synced"], clock)
    beats = []

    async def listen() -> None:
        async for beat in heart.beats():
            beats.append(beat.generation)

    task = asyncio.create_task(listen())
    await clock.advance(3)
    assert beats == []
    state["synced"] = True
    await clock.advance(3)
    assert beats == [freshness.generation] * 3
    state["reachable"] = False
    await clock.advance(5)
    assert len(beats) == 3
    state["reachable"] = True
    await clock.advance(1)
    assert len(beats) == 4
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_cluster_that_is_gone_voids_everything(listener):
    cluster = Cluster(metadata=ObjectMeta(name="c-abcde"))
    assert await listener.after((listener.freshness.cluster_changed, added(cluster))) is None
    heard = await listener.after((listener.freshness.cluster_changed, deleted(cluster)))
    assert heard is not None
    assert heard.everything
