"""Kinds of a cluster, from servers new and old."""

from __future__ import annotations

from typing import Any

import msgspec

from outrider.facade.v1.catalogue import Catalogue, Resource
from outrider.facade.v1.discovery import Discovery
from outrider.kube.builtin import untyped
from outrider.kube.transport import Request, Response

NEW = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def group(name: str, *versions: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "versions": [
            {
                "version": version,
                "resources": [
                    {
                        "resource": "things",
                        "responseKind": {"kind": "Thing"},
                        "scope": "Namespaced",
                        "verbs": ["get", "list"],
                        "subresources": [{"subresource": "status"}],
                    }
                ],
            }
            for version in versions
        ],
    }


class Server:
    """Answers by path; `asked` are the paths and the tags that came with them."""

    def __init__(self, answers: dict[str, Any], kind: str = "application/json") -> None:
        self.answers = answers
        self.kind = kind
        self.asked: list[tuple[str, str]] = []

    async def raw(self, request: Request) -> Response:
        tag = dict(request.headers).get("If-None-Match", "")
        self.asked.append((request.path, tag))
        if request.path not in self.answers:
            return Response(status=503, headers={})
        body = msgspec.json.encode(self.answers[request.path])
        etag = str(hash(body))
        if tag == etag:
            return Response(status=304, headers={})
        headers = (
            {"content-type": self.kind, "etag": etag}
            if "apidiscovery" in self.kind
            else {"content-type": self.kind}
        )
        return Response(status=200, headers=headers, body=body)


async def test_an_answer_that_did_not_change_is_not_read_again() -> None:
    times = iter((0.0, 1.0, 5.0, 6.0, 6.0))
    server: Any = Server({"/api": {"items": []}, "/apis": {"items": [group("a.io", "v2", "v1")]}}, NEW)
    discovery = Discovery(fresh=3.0, now=lambda: next(times))
    first = await discovery.read(server, "c")
    assert await discovery.read(server, "c") is first
    assert len(server.asked) == 2
    assert await discovery.read(server, "c") is first
    assert [bool(tag) for _, tag in server.asked] == [False, False, True, True]
    thing = first.find("A.IO.Things")
    assert thing is not None
    assert (thing.id, thing.kind.version, thing.subresources) == ("a.io.thing", "v2", {"status"})
    server.answers["/apis"]["items"].append(group("b.io", "v1"))
    _, found = await discovery.find(server, "c", "b.io.thing")
    assert found is not None


async def test_a_server_that_knows_no_aggregated_discovery() -> None:
    pods = {"name": "pods", "kind": "Pod", "namespaced": True, "verbs": ["get", "list"]}
    log = {"name": "pods/log", "kind": "Pod", "namespaced": True, "verbs": ["get"]}
    away = {"versions": [{"groupVersion": "away.io/v1"}], "preferredVersion": {"groupVersion": "away.io/v1"}}
    apps = {
        "versions": [{"groupVersion": "apps/v1beta1"}, {"groupVersion": "apps/v1"}],
        "preferredVersion": {"groupVersion": "apps/v1"},
    }
    deployments = {"name": "deployments", "kind": "Deployment", "namespaced": True, "verbs": ["list"]}
    server: Any = Server(
        {
            "/api": {"versions": ["v1"]},
            "/apis": {"groups": [away, apps]},
            "/api/v1": {"groupVersion": "v1", "resources": [pods, log]},
            "/apis/apps/v1": {"groupVersion": "apps/v1", "resources": [deployments]},
            "/apis/apps/v1beta1": {"groupVersion": "apps/v1beta1", "resources": [deployments]},
        }
    )
    catalogue = await Discovery().read(server, "c")
    pod, deployment = catalogue.find("pod"), catalogue.find("apps.deployments")
    assert pod is not None
    assert deployment is not None
    assert (pod.kind.path(namespace="x"), pod.subresources) == ("/api/v1/namespaces/x/pods", {"log"})
    assert deployment.kind.version == "v1"
    assert len(list(catalogue)) == 2
    assert catalogue.of("apps/v1beta1", "Deployment") is deployment


def test_a_type_goes_before_the_plural_of_another() -> None:
    def resource(plural: str, kind: str) -> Resource:
        return Resource(untyped("", "v1", plural, kind, namespaced=True), frozenset({"list"}))

    odd, plain = resource("pod", "Odd"), resource("pods", "Pod")
    catalogue = Catalogue([odd, plain])
    assert catalogue.find("pod") is plain
    assert catalogue.find("odd") is odd
