"""When a cluster's desired state is sent, and when it is not."""

from __future__ import annotations

from typing import Any

import pytest

from outrider.apis.management.cluster import Cluster
from outrider.features.clusters.manifest import AgentManifest
from outrider.features.clusters.reconcile_desired import DesiredReconciler
from outrider.features.clusters.registration import TokenSecret
from outrider.features.clusters.sessions import Sessions
from outrider.kube.meta import ObjectKey, ObjectMeta
from outrider.link.messages import Message, ToAgent
from outrider.tunnel.reports import DesiredState, decode_server_message

KEY = ObjectKey("", "c-1")


class Stand:
    """Stands for everything that the reconciler reads."""

    def __init__(self) -> None:
        self.cluster: Cluster | None = Cluster(metadata=ObjectMeta(name="c-1"))
        self.token = "b" * 54
        self.server_url = "https://h"
        self.admins = ["user-a"]
        self.epoch = 5
        self.sent: list[Message] = []
        self.sessions = Sessions()
        this: Any = self
        self.reconciler = DesiredReconciler(
            clusters=this,
            sessions=self.sessions,
            registry=this,
            manifests=this,
            settings=this,
            administrators=lambda: self.admins,
            send=self.sent.append,
            epoch=lambda: self.epoch,
        )

    def get(self, key: ObjectKey) -> Cluster | None:
        return self.cluster

    def live_registration(self, cluster: str, preferred: str) -> str:
        return preferred if self.token else ""

    def held(self, cluster: str, registration: str) -> TokenSecret:
        return TokenSecret(token=self.token)

    def former_names(self, cluster: str, registration: str) -> list[str]:
        return []

    def value(self, name: str) -> str:
        return self.server_url

    async def make(self, cluster: Cluster, token: str, *, server_url: str) -> AgentManifest:
        return AgentManifest(server_url=server_url, token=token, image="x")

    async def states(self) -> list[tuple[int, DesiredState]]:
        """What one more round sends: (session, state)."""
        self.sent.clear()
        await self.reconciler.reconcile(KEY)
        found = []
        for message in self.sent:
            assert isinstance(message, ToAgent)
            state = decode_server_message(message.body)
            assert isinstance(state, DesiredState)
            found.append((message.session, state))
        return found


@pytest.fixture
def stand() -> Stand:
    made = Stand()
    made.sessions.opened("c-1", 1, "default-token")
    return made


async def test_each_tunnel_hears_it_once(stand: Stand) -> None:
    ((session, state),) = await stand.states()
    assert (session, state.epoch, state.complete) == (1, 5, True)
    assert await stand.states() == []
    stand.sessions.opened("c-1", 2, "default-token")
    ((session, later),) = await stand.states()
    assert session == 2
    assert later.counter > state.counter
    assert later.objects == state.objects


async def test_a_change_and_a_new_term_are_told(stand: Stand) -> None:
    await stand.states()
    stand.admins = ["user-a", "user-b"]
    ((_, state),) = await stand.states()
    assert "globaladmin-user-b" in [obj["metadata"]["name"] for obj in state.objects]
    stand.epoch = 6
    ((_, again),) = await stand.states()
    assert (again.epoch, again.objects) == (6, state.objects)


@pytest.mark.parametrize("missing", ["token", "server_url"])
async def test_a_credential_is_never_pruned_for_being_unknown(stand: Stand, missing: str) -> None:
    setattr(stand, missing, "")
    assert await stand.states() == []


async def test_a_tunnel_that_comes_back_hears_it_again(stand: Stand) -> None:
    await stand.states()
    stand.sessions.closed("c-1", 1)
    assert await stand.states() == []
    stand.sessions.opened("c-1", 1, "default-token")
    assert len(await stand.states()) == 1


async def test_a_cluster_that_leaves_hears_nothing(stand: Stand) -> None:
    stand.cluster = None
    assert await stand.states() == []
