"""The agent takes everything away that was made in its cluster: whole agents on a real API server."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
import pytest

from outrider.agent.belongings import MARK
from outrider.agent.departure import Departure
from outrider.agent.program import Agent
from outrider.agent.settings import AgentSettings
from outrider.agent.trust import checksum
from outrider.delivery.entries import Ref
from outrider.delivery.index import Extra
from outrider.delivery.withdrawal import Withdrawal
from outrider.features.clusters.manifest import AgentManifest, credentials_name, objects
from outrider.kube.builtin import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    CONFIGMAPS,
    NAMESPACES,
    SECRETS,
    SERVICEACCOUNTS,
)
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.identity import Identity
from outrider.kube.kind import Kind
from outrider.tunnel import farewell
from outrider.tunnel.reports import Removal, StateGone, encode
from tests.integration.agent.management import ManagementServer, Session, management_server
from tests.integration.agent.test_program import ask

TOKEN = "bcdfghjklmnpqrstvwxz2456789bcdfghjklmnpqrstvwxz2456789"
OTHER = TOKEN[::-1]
SYSTEM = "cattle-system"
# What Kubernetes makes by itself all the time
PASSING = {"events", "leases", "endpoints", "endpointslices", "componentstatuses", "apiservices"}

STUCK = Ref("", "ConfigMap", "default", "stuck")

Names = set[tuple[str, str, str]]


async def everything(client: Client) -> Names:
    """(resource, namespace, name) of all objects of the cluster."""
    groups = (await client.get_json("/apis"))["groups"]
    places = ["/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)]
    found: Names = set()
    for place in places:
        for resource in (await client.get_json(place))["resources"]:
            if "/" in resource["name"] or "list" not in resource["verbs"] or resource["name"] in PASSING:
                continue
            for item in (await client.get_json(f"{place}/{resource['name']}")).get("items") or []:
                metadata = item["metadata"]
                found.add((resource["name"], metadata.get("namespace", ""), metadata["name"]))
    return {one for one in found if not _is_automatic(*one)}


def _is_automatic(resource: str, namespace: str, name: str) -> bool:
    """Whether Kubernetes makes it by itself, some time after its start."""
    in_each = (resource, name) in {("configmaps", "kube-root-ca.crt"), ("serviceaccounts", "default")}
    of_the_server = namespace == "default" and name.startswith("kubernetes")
    return (
        (in_each and namespace != SYSTEM)
        or of_the_server
        or (resource, namespace) == ("serviceaccounts", "kube-system")
    )


async def settled(client: Client) -> Names:
    """Everything, once what earlier tests deleted is gone."""
    async with asyncio.timeout(60):
        while True:
            found = await everything(client)
            namespaces = (await client.get_json("/api/v1/namespaces"))["items"]
            leaving = any("deletionTimestamp" in one["metadata"] for one in namespaces)
            await asyncio.sleep(0.5)
            if not leaving and await everything(client) == found:
                return found


class Site:
    """A cluster with a manifest applied, and the agents in it."""

    def __init__(
        self, client: Client, server: ManagementServer, settings: AgentSettings, before: Names
    ) -> None:
        self.client = client
        self.server = server
        self.settings = settings
        self.before = before
        self._running: list[tuple[asyncio.Event, asyncio.Task[None]]] = []

    def start(self, name: str = "one") -> asyncio.Task[None]:
        """Another replica of the agent."""
        stop = asyncio.Event()
        agent = Agent(msgspec.structs.replace(self.settings, name=name))
        task = asyncio.create_task(agent.run(stop))
        self._running.append((stop, task))
        return task

    async def crash(self) -> None:
        """All agents end without another word."""
        for _, task in self._running:
            task.cancel()
        for _, task in self._running:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._running.clear()

    async def stop(self) -> None:
        for stop, _ in self._running:
            stop.set()
        for _, task in self._running:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def session(self, number: int = 1) -> Session:
        await self.until(lambda: len(self.server.sessions) >= number)
        return self.server.sessions[number - 1]

    async def deliver(self, session: Session, *more: dict[str, Any]) -> None:
        """The manifest once more as desired state, as the real server has it, and some objects."""
        session.deliver(1, *objects(manifest(self.settings.server)), *more)
        await self.until(lambda: session.reports and not session.reports[-1].pending)
        assert session.reports[-1].failed == 0, session.reports[-1].failures

    async def until(self, condition: Callable[[], Any], seconds: float = 40.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.02)

    async def additions(self) -> Names:
        """What the cluster has and had not before the import."""
        return await everything(self.client) - self.before

    async def until_only(self, *names: tuple[str, str, str], seconds: float = 60.0) -> None:
        """Waits until nothing but these was added to what was there before."""
        rest: Names = set()
        try:
            async with asyncio.timeout(seconds):
                while (rest := await self.additions()) != set(names):
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise AssertionError(f"still there: {sorted(rest)}") from None
        assert await everything(self.client) >= self.before


def manifest(url: str, token: str = TOKEN) -> AgentManifest:
    return AgentManifest(server_url=url, token=token, image="example.org/agent:1")


async def apply(client: Client, *manifests: dict[str, Any]) -> None:
    kinds: dict[tuple[str, str], Kind[dict[str, Any]]] = {}
    for obj in manifests:
        version = obj["apiVersion"]
        group = version.rpartition("/")[0]
        key = (version, obj["kind"])
        if key not in kinds:
            place = f"/apis/{version}" if group else f"/api/{version}"
            for one in (await client.get_json(place))["resources"]:
                if "/" not in one["name"]:
                    kinds[version, one["kind"]] = Kind(
                        group=group,
                        version=version.rpartition("/")[2],
                        plural=one["name"],
                        kind=one["kind"],
                        namespaced=one["namespaced"],
                        type=dict[str, Any],
                    )
        await client.apply(kinds[key], obj)


@pytest.fixture
async def site(
    tmp_path: Path, second_admin: Client, second_api_server: EmbeddedCluster
) -> AsyncIterator[Site]:
    admin = second_admin
    before = await settled(admin)
    assert ("namespaces", "", SYSTEM) not in before
    async with management_server(tmp_path, TOKEN) as (server, port):
        url = f"https://127.0.0.1:{port}"
        await apply(admin, *objects(manifest(url)))
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        issued = await admin.create_subresource(SERVICEACCOUNTS, "cattle", SYSTEM, "token", body)
        mounts, credentials = tmp_path / "mounts", tmp_path / "credentials"
        mounts.mkdir()
        credentials.mkdir()
        (mounts / "token").write_text(issued["status"]["token"])
        (mounts / "ca.crt").write_bytes(second_api_server.access.ca_pem)
        (credentials / "token").write_text(TOKEN)
        address = urlsplit(second_api_server.server)
        settings = AgentSettings(
            server=url,
            ca_checksum=checksum(server.authority.cert_pem.decode()),
            strict_verify=True,
            credential_name=credentials_name(url, TOKEN, ""),
            credentials=credentials,
            service_account=mounts,
            kubernetes_host=address.hostname or "",
            kubernetes_port=address.port or 0,
            ping_every=0.2,
            silence=2.0,
            report_after=0.05,
            lease=3.0,
            stop_within=0.2,
        )
        running = Site(admin, server, settings, before)
        yield running
        await running.stop()
        await _clean(admin)


async def _clean(admin: Client) -> None:
    """Nothing of a test that failed, or left something on purpose, reaches the next one."""
    for name in (SYSTEM, "cattle-impersonation-system"):
        await admin.delete_if_exists(NAMESPACES, name)
    for name in ("cattle-admin", "proxy-clusterrole-kubeapiserver"):
        await admin.delete_if_exists(CLUSTERROLES, name)
    for name in ("cattle-admin-binding", "proxy-role-binding-kubernetes-master"):
        await admin.delete_if_exists(CLUSTERROLEBINDINGS, name)
    async with asyncio.timeout(30):
        while any(name == SYSTEM for _, _, name in await everything(admin)):
            await asyncio.sleep(0.1)


def config(name: str, namespace: str = "default") -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}}


def role(name: str) -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    return {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": []}


def space(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


async def test_an_order_through_the_tunnel_leaves_nothing(site: Site) -> None:
    site.start()
    session = await site.session()
    ours = f"ours-{uuid4().hex[:6]}"
    await site.deliver(session, space(ours), config("in-ours", ours), config("delivered"), role("delivered"))
    answer = await ask(session, "/api", Identity(user="u-somebody", groups=("system:cattle:authenticated",)))
    assert answer.status, answer.reason
    assert ("serviceaccounts", "cattle-impersonation-system", "cattle-impersonation-u-somebody") in (
        await site.additions()
    )

    session.send_message(encode(StateGone(reason="deleted")))
    await site.until(lambda: session.removals and session.removals[-1].done)
    assert session.removals[-1] == Removal(done=True)
    assert [one.remaining for one in session.removals if one.remaining]
    await site.until_only()


async def test_namespaces_belong_to_no_project_any_more(site: Site) -> None:
    site.start()
    session = await site.session()
    said = {"field.cattle.io/projectId": "c-1:p-1", "example.org/theirs": "stays"}
    marks = {"labels": {"field.cattle.io/projectId": "p-1"}, "annotations": said}
    await site.client.patch(NAMESPACES, "default", {"metadata": marks})
    session.send_message(encode(StateGone(reason="deleted")))
    await site.until(lambda: session.removals and session.removals[-1].done)
    left = (await site.client.get(NAMESPACES, "default"))["metadata"]
    assert left["annotations"] == {"example.org/theirs": "stays"}
    assert "field.cattle.io/projectId" not in left["labels"]
    await site.client.patch(NAMESPACES, "default", {"metadata": {"annotations": None}})


async def test_nobody_acts_through_an_agent_that_leaves(site: Site) -> None:
    site.start()
    session = await site.session()
    user = Identity(user="u-late", groups=("system:cattle:authenticated",))
    assert (await ask(session, "/api", user)).status
    session.send_message(encode(StateGone()))
    await site.until(lambda: bool(session.removals))
    answer = await ask(session, "/api", user)
    assert (answer.status, answer.reason) == (0, "this cluster is being removed")
    await site.until_only()


async def test_the_proven_answer_to_its_credential_is_an_order(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.server.token = "another"
    site.server.refusal = ("410 Gone", farewell.order(TOKEN, "deleted").encode())
    site.start()
    await site.until_only()
    assert not site.server.sessions
    assert "410 the cluster was deleted" in caplog.text
    assert "proof" not in caplog.text


@pytest.mark.parametrize(
    "refusal",
    [
        ("410 Gone", b"gone"),
        ("410 Gone", farewell.order(OTHER, "deleted").encode()),
        ("410 Gone", encode(StateGone(reason="deleted"))),
        ("400 Bad Request", farewell.order(TOKEN, "deleted").encode()),
    ],
    ids=["a balancer's", "for another credential", "without proof", "another status"],
)
async def test_no_other_refusal_is_one(site: Site, refusal: tuple[str, bytes]) -> None:
    site.server.token, site.server.refusal = "another", refusal
    before = await site.additions()
    site.start()
    await site.until(lambda: site.server.refused >= 2)
    await asyncio.sleep(0.3)
    assert await site.additions() >= before
    assert await site.client.get_or_none(CONFIGMAPS, MARK, SYSTEM) is None
    # the same agent does obey the real one
    site.server.refusal = ("410 Gone", farewell.order(TOKEN, "deleted").encode())
    await site.until_only()


async def test_it_goes_on_after_a_crash_without_the_server(site: Site) -> None:
    site.start()
    session = await site.session()
    await site.deliver(session, *(config(f"many-{n}") for n in range(300)))
    session.send_message(encode(StateGone()))
    await site.until(lambda: bool(session.removals))
    await site.crash()
    left = {name for _, _, name in await site.additions() if name.startswith("many-")}
    assert left, "the crash came too late to show anything"

    site.server.token = "another"  # and the server knows nothing of it
    site.start("two")
    await site.until_only()


async def test_two_replicas_take_turns(site: Site) -> None:
    first = site.start("one")
    session = await site.session()
    await site.deliver(session, *(config(f"many-{n}") for n in range(300)))
    site.start("two")
    other = await site.session(2)
    for one in (session, other):
        one.send_message(encode(StateGone()))
    await site.until(lambda: bool(session.removals))
    first.cancel()
    await site.until(lambda: other.removals and other.removals[-1].done, 40)
    await site.until_only()


async def test_what_is_not_ours_keeps_the_namespace(site: Site) -> None:
    await apply(site.client, config("theirs", SYSTEM), config("theirs-too"))
    site.start()
    session = await site.session()
    await site.deliver(session)
    session.send_message(encode(StateGone()))
    await site.until(lambda: session.removals and session.removals[-1].done)
    assert session.removals[-1].left == ["Namespace cattle-system: it holds ConfigMap theirs"]
    await site.until_only(
        ("namespaces", "", SYSTEM),
        ("configmaps", SYSTEM, "theirs"),
        ("configmaps", SYSTEM, "kube-root-ca.crt"),
        ("serviceaccounts", SYSTEM, "default"),
        ("configmaps", "default", "theirs-too"),
    )
    await site.client.delete(CONFIGMAPS, "theirs-too", "default")


async def test_a_cluster_that_was_registered_anew_is_left_alone(site: Site) -> None:
    """A pod of the deleted registration still runs while the new one's manifest is applied already."""
    await apply(site.client, *objects(manifest(site.settings.server, OTHER)))
    before = await site.additions()
    site.server.token = OTHER
    site.server.refusal = ("410 Gone", farewell.order(TOKEN, "deleted").encode())
    site.start()
    await site.until(lambda: site.server.refused >= 1)
    await asyncio.sleep(1.0)
    assert await site.additions() >= before
    assert await site.client.get_or_none(CONFIGMAPS, MARK, SYSTEM) is None


class Refusing(Withdrawal):
    """A cluster that does not let go of one object."""

    def __init__(self) -> None:
        self.tries = 0

    async def made(self) -> dict[Ref, Extra]:
        return {STUCK: Extra("v1", False), Ref("", "Namespace", "", SYSTEM): Extra("v1", True)}

    async def remove(
        self, going: Mapping[Ref, Extra], progress: Callable[[int], None] = lambda left: None
    ) -> dict[Ref, str]:
        assert set(going) == {STUCK}, "the agent's own namespace is none of the withdrawal's business"
        self.tries += 1
        return {STUCK: "a policy of the cluster says no"}


async def test_what_is_refused_is_tried_again_and_then_reported(site: Site) -> None:
    told: list[Removal] = []
    refusing = Refusing()
    await Departure(site.client, refusing, told.append, patience=0.5, pause=0.05).run()
    assert refusing.tries > 2
    left = ["ConfigMap default/stuck: a policy of the cluster says no"]
    assert told[-1] == Removal(left=left, done=True)
    assert Removal(remaining=1, left=left) in told
    await site.until_only()


async def test_people_of_the_cluster_may_give_the_order_themselves(site: Site) -> None:
    """As the how-to says, for a server that is no more."""
    site.start()
    await site.session()
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    await apply(site.client, {**config(MARK, SYSTEM), "data": {"credential": digest}})
    await site.until_only()


async def test_an_order_from_before_is_dropped(site: Site) -> None:
    """The removal was interrupted, and then somebody applied the manifest of another record."""
    await apply(site.client, {**config(MARK, SYSTEM), "data": {"credential": "0" * 64}})
    site.start()
    await site.session()
    async with asyncio.timeout(10):
        while await site.client.get_or_none(CONFIGMAPS, MARK, SYSTEM) is not None:
            await asyncio.sleep(0.05)
    assert await site.client.get_or_none(SECRETS, site.settings.credential_name, SYSTEM) is not None
