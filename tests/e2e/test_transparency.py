"""Through Outrider and straight to the API server: the same request has the same answer, byte by byte."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from tests.support.door import Answer, Door
from tests.support.etcd import etcd_of
from tests.support.instance import Instance

# Those that differ between two requests to one API server, and those that name the caller's priority.
VARYING = {
    "audit-id",
    "date",
    "x-kubernetes-pf-flowschema-uid",
    "x-kubernetes-pf-prioritylevel-uid",
}
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PROTOBUF = "application/vnd.kubernetes.protobuf"
CBOR = "application/cbor"


def same(one: Answer, other: Answer) -> None:
    """Both answers are alike in all that a client can see."""
    assert one.status == other.status
    assert end_to_end(one) == end_to_end(other)
    assert one.body == other.body


def compare(
    through: Door,
    straight: Door,
    method: str,
    path: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Both ways answer alike; returns what came through.

    A list tells how far the whole cluster has come, which others move on: only what is the same straight before
    and after counts.
    """
    for _ in range(10):
        before = straight.request(method, path, body, headers)
        answer = through.request(method, path, body, headers)
        after = straight.request(method, path, body, headers)
        if before.body == after.body:
            same(answer, before)
            return answer
    raise AssertionError(f"{method} {path}: no two answers of the API server itself are alike")


def end_to_end(answer: Answer) -> list[tuple[str, str]]:
    return sorted((name.lower(), value) for name, value in answer.headers if name.lower() not in VARYING)


@pytest.fixture
def filled(straight: Door, namespace: str) -> str:
    """A namespace with ten ConfigMaps."""
    for number in range(10):
        body = {"metadata": {"name": f"c{number}", "labels": {"n": str(number)}}, "data": {"k": "v" * 100}}
        assert straight.post(f"/api/v1/namespaces/{namespace}/configmaps", body).status == 201
    return f"/api/v1/namespaces/{namespace}/configmaps"


@pytest.mark.parametrize(
    "accept", ["application/json", "application/yaml", TABLE, PROTOBUF, "", "text/html", CBOR]
)
def test_negotiation(through: Door, straight: Door, filled: str, accept: str) -> None:
    for path in (filled, f"{filled}/c1", f"{filled}/missing", "/api/v1/namespaces/default", "/apis/apps/v1"):
        answer = compare(through, straight, "GET", path, headers={"Accept": accept} if accept else {})
        if accept == PROTOBUF:
            assert answer.body.startswith(b"k8s\x00")


def test_protobuf_both_ways(through: Door, straight: Door, filled: str) -> None:
    stored = straight.request("GET", f"{filled}/c1", headers={"Accept": PROTOBUF}).body
    headers = {"Accept": PROTOBUF, "Content-Type": PROTOBUF}
    updated = through.request("PUT", f"{filled}/c1?dryRun=All", stored, headers)
    assert (updated.status, updated.body[:4]) == (200, b"k8s\x00")
    broken = stored[:-7]
    compare(through, straight, "PUT", f"{filled}/c1", broken, headers)


@pytest.mark.parametrize(
    "path",
    [
        "?limit=3",
        "?labelSelector=n%20in%20(1%2C2)",
        "?fieldSelector=metadata.name%3Dc4",
        "?labelSelector=%zz",
        "?limit=abc",
        "?resourceVersion=999999999999&timeout=1s",
        "?watch=1&timeoutSeconds=1&resourceVersion=0&labelSelector=n%3D1",
        "?pretty=true",
        "/c1?pretty=1&pretty=0",
        "/c1/",
        "//c1",
        "/c%31",
        "/%E4%B8%96",
        "/..%2Fsecrets",
    ],
)
def test_paths_and_queries(through: Door, straight: Door, filled: str, path: str) -> None:
    if "..%2F" in path:
        refused = through.get(filled + path).status
        assert refused == 400, "what a proxy and its backend may read differently goes no further"
        return
    compare(through, straight, "GET", filled + path)


@pytest.mark.parametrize(
    "path", ["/version", "/openapi/v3", "/openapi/v2", "/apis", "/healthz", "/livez?verbose", "/nope"]
)
def test_what_is_no_resource(through: Door, straight: Door, path: str) -> None:
    compare(through, straight, "GET", path)


def test_compression_is_passed_on_as_it_is(through: Door, straight: Door, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    for number in range(3):
        body = {"metadata": {"name": f"big{number}"}, "data": {"text": "outrider " * 20_000}}
        assert straight.post(path, body).status == 201
    got = compare(through, straight, "GET", path, headers={"Accept-Encoding": "gzip"})
    assert got.header("Content-Encoding") == "gzip"
    assert len(got.body) < 50_000
    plain = compare(through, straight, "GET", path, headers={"Accept-Encoding": "identity"})
    assert json.loads(gzip.decompress(got.body))["items"] == plain.json()["items"]


def test_a_chunked_body(through: Door, straight: Door, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    body = json.dumps({"metadata": {"name": "chunked"}, "data": {"x": "y" * 300_000}}).encode()
    pieces = [body[i : i + 1000] for i in range(0, len(body), 1000)]
    made = through.request("POST", path, pieces, {"Content-Type": "application/json"})
    assert made.status == 201
    assert straight.get(f"{path}/chunked").json()["data"] == {"x": "y" * 300_000}
    same(
        through.request("POST", path, pieces, {"Content-Type": "application/json"}),
        straight.request("POST", path, pieces, {"Content-Type": "application/json"}),
    )


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PUT", "PATCH", "DELETE", "POST"])
def test_methods(through: Door, straight: Door, filled: str, method: str) -> None:
    body = None if method in {"HEAD", "OPTIONS", "TRACE", "DELETE"} else b"{"
    for path in (f"{filled}/c1?dryRun=All", "/version", f"{filled}/missing"):
        expected = straight.request(method, path, body)
        answer = through.request(method, path, body)
        assert answer.status == expected.status, (method, path)
        assert len(answer.body) == len(expected.body), (method, path)
        if method != "DELETE":
            assert end_to_end(answer) == end_to_end(expected), (method, path)


def test_refusals_of_the_server_pass_unchanged(
    through: Door, straight: Door, namespace: str, filled: str
) -> None:
    compare(through, straight, "POST", filled, {"metadata": {"name": "c1"}})
    stale = straight.get(f"{filled}/c2").json()
    assert straight.request("PATCH", f"{filled}/c2", b'{"data":{"k":"w"}}', MERGE).status == 200
    assert compare(through, straight, "PUT", f"{filled}/c2", stale).status == 409
    assert compare(through, straight, "POST", filled, {"metadata": {"name": "Not A Name"}}).status == 422
    assert compare(through, straight, "POST", filled, b"<xml/>", {"Content-Type": "text/xml"}).status == 415
    warned = compare(through, straight, "GET", f"/api/v1/namespaces/{namespace}/endpoints")
    assert "deprecated" in warned.header("Warning")


MERGE = {"Content-Type": "application/merge-patch+json"}


async def test_410_when_the_past_is_forgotten(
    through: Door, straight: Door, instance: Instance, namespace: str
) -> None:
    # The API server keeps no cache of events, so that etcd itself answers.
    path = f"/api/v1/namespaces/{namespace}/events"
    for number in range(5):
        subject = {"kind": "Pod", "name": "p", "namespace": namespace}
        assert (
            straight.post(path, {"metadata": {"name": f"e{number}"}, "involvedObject": subject}).status == 201
        )
    old = straight.get(path).json()["metadata"]["resourceVersion"]
    page = straight.get(f"{path}?limit=2").json()["metadata"]["continue"]
    for number in range(3):
        assert straight.request("DELETE", f"{path}/e{number}").status == 200
    async with etcd_of(instance.data / "clusters" / "demo-1" / "kube") as etcd:
        await etcd.compact()
    exact = f"{path}?resourceVersion={int(old) - 1}&resourceVersionMatch=Exact"
    gone = compare(through, straight, "GET", exact)
    assert (gone.status, gone.json()["reason"]) == (410, "Expired")
    watch = f"{path}?watch=1&timeoutSeconds=1&resourceVersion={int(old) - 1}"
    assert b'"code":410' in compare(through, straight, "GET", watch).body
    expired = through.get(f"{path}?limit=2&continue={page}")
    assert expired.status == 410
    same(without_token(expired), without_token(straight.get(f"{path}?limit=2&continue={page}")))


def without_token(answer: Answer) -> Answer:
    """Without the fresh `continue` and the length that goes with it: no two are alike."""
    body: dict[str, Any] = answer.json()
    body["metadata"].pop("continue", None)
    headers = [(name, value) for name, value in answer.headers if name.lower() != "content-length"]
    return Answer(answer.status, headers, json.dumps(body).encode())


def test_429_of_a_disruption_budget(through: Door, straight: Door, namespace: str) -> None:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    budgets = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"
    pod = {
        "metadata": {"name": "guarded", "labels": {"app": "guarded"}},
        "spec": {
            "containers": [{"name": "c", "image": "example.test/none"}],
            "automountServiceAccountToken": False,
        },
    }
    made = straight.post(pods, pod)
    assert made.status == 201, made.body
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    status = json.dumps({"status": ready}).encode()
    assert straight.request("PATCH", f"{pods}/guarded/status", status, MERGE).status == 200
    budget = {
        "metadata": {"name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "guarded"}}},
    }
    assert straight.post(budgets, budget).status == 201
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": "guarded", "namespace": namespace},
    }
    refused = through.post(f"{pods}/guarded/eviction", eviction)
    assert refused.status == 429
    assert int(refused.header("Retry-After")) > 0
    compare(through, straight, "POST", f"{pods}/guarded/eviction", eviction)


def test_a_watch_sends_the_same_events(through: Door, straight: Door, filled: str) -> None:
    for accept in ("application/json", f"{PROTOBUF};stream=watch", TABLE):
        path = f"{filled}?watch=1&timeoutSeconds=1&allowWatchBookmarks=true&resourceVersion=0"
        one = through.request("GET", path, headers={"Accept": accept})
        other = straight.request("GET", path, headers={"Accept": accept})
        assert one.status == other.status == 200
        assert end_to_end(one) == end_to_end(other)
        assert len(one.body) > 1000
