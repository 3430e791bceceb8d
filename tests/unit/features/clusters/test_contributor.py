"""What is said when something that the agent's objects are made of cannot be had."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.cluster_status import ClusterStatus, DesiredStateStatus
from outrider.delivery.errors import NotReady
from outrider.features.clusters.contributor import ClusterObjects
from outrider.features.clusters.registration import DEFAULT_REGISTRATION, SYSTEM_REGISTRATION
from outrider.kube.errors import TransportError
from outrider.kube.meta import ObjectMeta

REGISTRATIONS = (DEFAULT_REGISTRATION, SYSTEM_REGISTRATION)


class Manifests:
    """Cannot read a pull secret."""

    async def make(self, *arguments: Any, **named: Any) -> Any:
        raise TransportError("no answer")


def objects(token: str, server_url: str, tokens_of: tuple[str, ...] = REGISTRATIONS) -> ClusterObjects:
    held = SimpleNamespace(token=token) if token else None
    registry = SimpleNamespace(
        live_registration=lambda *_: "default-token",
        held=lambda _, registration: held if registration in tokens_of else None,
    )
    anything: Any = None
    return ClusterObjects(
        clusters=anything,
        registry=cast(Any, registry),
        manifests=cast(Any, Manifests()),
        settings=cast(Any, SimpleNamespace(value=lambda name: server_url)),
        secrets=anything,
        stored_settings=anything,
    )


@pytest.mark.parametrize(("token", "url"), [("", "https://a.example.org"), ("t", "")])
async def test_what_comes_with_an_event_is_waited_for(token: str, url: str) -> None:
    with pytest.raises(NotReady):
        await objects(token, url).contribute(Cluster(metadata=ObjectMeta(name="c-1")))


async def test_what_could_not_be_read_is_tried_again_soon() -> None:
    """Nothing will tell that the API server answers again: it is an error, which has a back-off."""
    with pytest.raises(TransportError):
        await objects("t", "https://a.example.org").contribute(Cluster(metadata=ObjectMeta(name="c-1")))


async def test_a_new_cluster_waits_for_all_its_tokens_but_a_known_one_for_none() -> None:
    """One state is stamped for it, not one for each token; later a token that is gone holds nothing up."""
    one = objects("t", "https://a.example.org", (DEFAULT_REGISTRATION,))
    with pytest.raises(NotReady, match="tokens"):
        await one.contribute(Cluster(metadata=ObjectMeta(name="c-1")))
    known = ClusterStatus(desired_state=DesiredStateStatus(epoch=1, counter=1))
    with pytest.raises(TransportError):
        await one.contribute(Cluster(metadata=ObjectMeta(name="c-1"), status=known))
