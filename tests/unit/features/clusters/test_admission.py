"""What an agent may say of its cluster, and what becomes of it."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.cluster_spec import ClusterSpec
from outrider.apis.management.cluster_status import ClusterStatus
from outrider.apis.state import evaluate
from outrider.features.clusters.admission import Admissions, endpoint_url, read_params, registered
from outrider.features.clusters.errors import RegistrationRefused
from outrider.features.clusters.lifecycle import UID_ANNOTATION
from outrider.features.clusters.tombstones import Tombstone
from outrider.kube import conditions as c
from outrider.kube.errors import TransportError
from outrider.kube.meta import ObjectMeta
from outrider.link.messages import Admit
from outrider.tunnel import farewell
from tests.support.clock import FakeClock

CA = base64.b64encode(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").decode()
GOOD = {"cluster": {"address": "10.43.0.1:443", "caCert": CA, "token": "jwt", "uid": "abc-1"}}


def test_good_parameters() -> None:
    params = read_params(GOOD)
    assert (params.endpoint, params.ca_cert, params.uid) == ("https://10.43.0.1:443", CA, "abc-1")
    assert "jwt" not in repr(params)


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({}, "missing node or cluster registration info"),
        ({"cluster": None, "node": None}, "missing node or cluster registration info"),
        ({"cluster": "x"}, "missing node or cluster registration info"),
        ({"node": {"requestedHostname": ""}}, "invalid input, hostname empty"),
        ({"node": {"requestedHostname": "n1"}}, "nodes cannot register by themselves here"),
        ({"cluster": {"address": "", "caCert": CA}}, "invalid input, address empty"),
        ({"cluster": {"address": 7, "caCert": CA}}, "invalid input, address empty"),
        ({"cluster": {"address": "a:1", "caCert": ""}}, "invalid input, caCert empty"),
        ({"cluster": {"address": "a:1", "caCert": "%"}}, "invalid input, caCert is not base64"),
        ({"cluster": {"address": "a:1", "caCert": "AAAA"}}, "invalid input, caCert is not base64"),
        ({"cluster": {"address": "a:1", "caCert": CA * 10_000}}, "invalid input, caCert is not base64"),
        ({"cluster": {"address": "evil/../x", "caCert": CA}}, "invalid input, address is not host:port"),
        ({"cluster": {"address": "u@h:1", "caCert": CA}}, "invalid input, address is not host:port"),
        ({"cluster": {"address": "h:1\nX: y", "caCert": CA}}, "invalid input, address is not host:port"),
    ],
)
def test_refusals(params: dict[str, Any], text: str) -> None:
    with pytest.raises(RegistrationRefused, match=text) as refused:
        read_params(params)
    assert refused.value.status == 400


@given(st.dictionaries(st.sampled_from(["cluster", "node", "x"]), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(st.sampled_from(["address", "caCert", "token", "requestedHostname"]), inner, max_size=4),
    max_leaves=8,
), max_size=3))  # fmt: skip
def test_any_parameters_are_taken_or_refused(params: dict[str, Any]) -> None:
    with pytest.raises(RegistrationRefused):
        read_params(params)


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("10.0.0.1:443", "https://10.0.0.1:443"),
        ("kubernetes.default.svc", "https://kubernetes.default.svc"),
        ("fd00::1", "https://[fd00::1]"),
        ("[fd00::1]:6443", "https://[fd00::1]:6443"),
    ],
)
def test_addresses(address: str, url: str) -> None:
    assert endpoint_url(address) == url


@pytest.mark.parametrize("driver", ["", "imported", "k3s", "rke2"])
def test_the_first_registration_opens_the_gates(driver: str) -> None:
    status = registered(Cluster(status=ClusterStatus(driver=driver)), read_params(GOOD), FakeClock())
    assert status.driver == (driver or "imported")
    assert status.api_endpoint == "https://10.43.0.1:443"
    assert status.ca_cert == CA
    assert all(c.is_true(status.conditions, kind) for kind in ("Pending", "Provisioned"))


def test_hosted_clusters_keep_their_own_endpoint() -> None:
    for cluster in (
        Cluster(status=ClusterStatus(driver="EKS", api_endpoint="https://eks")),
        Cluster(spec=ClusterSpec(eks_config={})),
    ):
        assert registered(cluster, read_params(GOOD), FakeClock()) == cluster.status


class Registry:
    """Answers as it is told."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    async def authenticate(self, token: str) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


class Tombstones:
    """Knows the deleted cluster of the token `deleted`, as long as it is told the right uid."""

    async def find(self, token: str, kube_system: str) -> Tombstone | None:
        if (token, kube_system) != ("deleted", "abc-1"):
            return None
        return Tombstone(cluster="c-9", record="r", kube_system="abc-1", credentials=(), removed_at=None)


@pytest.mark.parametrize(
    ("answer", "synced", "token", "status", "message"),
    [
        (None, True, "", 401, "failed authentication"),
        (None, True, "t", 400, "cluster not found"),
        (None, False, "t", 503, "the server is starting, try again"),
        (("local", "x"), True, "t", 400, "cluster local is this server's own and needs no agent"),
        (TransportError("secret detail"), True, "t", 503, "registration is not possible now, try again"),
    ],
)
async def test_answers(answer: object, synced: bool, token: str, status: int, message: str) -> None:
    registry: Any = Registry(answer)
    client: Any = None
    admissions = Admissions(client, registry, Tombstones(), FakeClock(), synced=lambda: synced)  # type: ignore[arg-type]
    found = await admissions.admit(Admit(id=3, token=token, params=GOOD))
    assert (found.id, found.status, found.message, found.cluster) == (3, status, message, "")


class Silent:
    """A client that must not be used."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the API server was asked: {name}")


class Records(Registry):
    """Knows one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(("c-1", "default-token"))
        self._cluster = cluster

    def cluster(self, name: str) -> Cluster | None:
        return self._cluster


def admitted_before() -> Cluster:
    metadata = ObjectMeta(name="c-1", annotations={UID_ANNOTATION: "abc-1"})
    cluster = Cluster(metadata=metadata, status=registered(Cluster(), read_params(GOOD), FakeClock()))
    cluster.status.state = evaluate(cluster, cluster.status.conditions, FakeClock().now()).name
    return cluster


def admissions(cluster: Cluster) -> Admissions:
    return Admissions(Silent(), Records(cluster), Tombstones(), FakeClock(), synced=lambda: True)  # type: ignore[arg-type]


class Slow(Registry):
    """Takes until it is told; counts who is being decided on."""

    def __init__(self) -> None:
        super().__init__(None)
        self.go = asyncio.Event()
        self.under_way = self.most = 0

    async def authenticate(self, token: str) -> Any:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.go.wait()
        self.under_way -= 1
        return None


async def test_of_a_crowd_a_few_are_decided_on_at_once_and_the_rest_is_sent_away_in_time() -> None:
    registry, stones, client = Slow(), Tombstones(), None
    crowded = Admissions(
        client,  # type: ignore[arg-type]
        registry,  # type: ignore[arg-type]
        stones,  # type: ignore[arg-type]
        FakeClock(),
        synced=lambda: True,
        turns=3,
        patience=0.05,
    )
    asked = [asyncio.create_task(crowded.admit(Admit(id=n, token="t", params=GOOD))) for n in range(20)]
    await asyncio.sleep(0.2)
    assert (registry.most, sum(one.done() for one in asked)) == (3, 17)
    registry.go.set()
    answers = [await one for one in asked]
    assert sorted(one.status for one in answers) == [400] * 3 + [503] * 17
    assert "try again" in next(one.message for one in answers if one.status == 503)
    assert (await crowded.admit(Admit(id=99, token="t", params=GOOD))).status == 400


async def test_an_agent_that_comes_back_costs_no_further_request() -> None:
    answer = await admissions(admitted_before()).admit(Admit(id=1, token="t", params=GOOD))
    assert (answer.status, answer.cluster) == (200, "c-1")


@pytest.mark.parametrize("change", [{"address": "10.43.0.2:443"}, {"uid": "another"}])
async def test_news_of_a_known_cluster_are_looked_at(change: dict[str, str]) -> None:
    params = {"cluster": {**GOOD["cluster"], **change}}
    with pytest.raises(AssertionError, match="the API server was asked: get"):
        await admissions(admitted_before()).admit(Admit(id=1, token="t", params=params))


async def test_a_cluster_that_is_being_removed_is_looked_at() -> None:
    cluster = admitted_before()
    cluster.metadata.deletion_timestamp = FakeClock().now()
    with pytest.raises(AssertionError, match="the API server was asked: get"):
        await admissions(cluster).admit(Admit(id=1, token="t", params=GOOD))


async def test_the_agent_of_a_deleted_cluster_is_told_to_clean_up() -> None:
    registry: Any = Registry(None)
    client: Any = None
    admissions = Admissions(client, registry, Tombstones(), FakeClock(), synced=lambda: True)  # type: ignore[arg-type]
    told = await admissions.admit(Admit(id=1, token="deleted", params=GOOD))
    assert (told.status, told.cluster) == (410, "")
    assert farewell.is_order(told.status, told.message.encode(), "deleted")
    other = {"cluster": {**GOOD["cluster"], "uid": "another"}}
    assert (await admissions.admit(Admit(id=2, token="deleted", params=other))).status == 400
    assert (await admissions.admit(Admit(id=3, token="unknown", params=GOOD))).status == 400
