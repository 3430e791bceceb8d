"""A request goes to the cluster that its target names literally, or to none."""

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from outrider.gateway import routing
from outrider.gateway.routing import route
from outrider.link.messages import Verdict
from tests.unit.gateway.desk import Desk, get, status


@pytest.mark.parametrize(
    ("target", "kind", "cluster", "rest"),
    [
        (b"/k8s/clusters/c-1/api/v1/pods?limit=5", "cluster", "c-1", b"/api/v1/pods?limit=5"),
        (b"/k8s/proxy/c-1/api", "cluster", "c-1", b"/api"),
        (b"/k8s/clusters/c-1", "cluster", "c-1", b"/"),
        (b"/k8s/clusters/c-1/", "cluster", "c-1", b"/"),
        (b"/k8s/clusters/c-1?x=/../c-2/", "cluster", "c-1", b"/?x=/../c-2/"),
        (b"/k8s/clusters/c-1/x?a=%2e%2e/%2fb", "cluster", "c-1", b"/x?a=%2e%2e/%2fb"),
        (b"/k8s/clusters/c-1/.well-known/x", "cluster", "c-1", b"/.well-known/x"),
        (b"/k8s/clusters/c-1/a..b/...", "cluster", "c-1", b"/a..b/..."),
        (b"/k8s/clusters/local/api", "local", "local", b"/api"),
        (b"/api/v1/pods", "local", "", b"/api/v1/pods"),
        (b"/apis", "local", "", b"/apis"),
        (b"/version?x", "local", "", b"/version?x"),
        (b"/v3/clusters/c-1", "control", "", b"/v3/clusters/c-1"),
        (b"/k8s/clusters/c-1/v1/pods?page=2", "control", "", b"/k8s/clusters/c-1/v1/pods?page=2"),
        (b"/k8s/proxy/local/v1", "control", "", b"/k8s/proxy/local/v1"),
        (b"/k8s/clusters/c-1/v1?x", "control", "", b"/k8s/clusters/c-1/v1?x"),
        (b"/k8s/clusters/c-1/v1beta1/x", "cluster", "c-1", b"/v1beta1/x"),
        (b"/k8s/clusters/c-1/api/v1", "cluster", "c-1", b"/api/v1"),
        (b"/apiserver", "control", "", b"/apiserver"),
        (b"/", "control", "", b"/"),
        (b"/ping", "ping", "", b"/ping"),
        (b"/v3/connect", "tunnel", "", b"/v3/connect"),
        (b"/v3/connect/register?x", "tunnel", "", b"/v3/connect/register?x"),
    ],
)
def test_routes(target: bytes, kind: str, cluster: str, rest: bytes) -> None:
    assert route(target) == (kind, cluster, rest)


@pytest.mark.parametrize(
    "target",
    [
        b"/k8s/clusters/c-1/../c-2/api",
        b"/k8s/clusters/c-1/%2e%2e/c-2/api",
        b"/k8s/clusters/c-1/%2E%2e/c-2/api",
        b"/k8s/clusters/c-1/.%2e/c-2/api",
        b"/k8s/clusters/c-1/..%2fc-2/api",
        b"/k8s/clusters/c-1%2f..%2fc-2/api",
        b"/k8s/clusters/c-1%5c..%5cc-2/api",
        b"/k8s/clusters/c-1%5c../c-2/api",
        b"/k8s/clusters/c-1\\..\\c-2/api",
        b"/k8s/clusters/c-1/..;/c-2/api",
        b"/k8s/clusters/c-1/..;x=y/c-2/api",
        b"/k8s/clusters/c-1/./api",
        b"/k8s/clusters/c-1/%2e/api",
        b"/k8s/clusters/c-1/api/..",
        b"/k8s/clusters/c-1/api/.",
        b"/k8s/clusters/c-1//api",
        b"/k8s/clusters/../clusters/c-1/api",
        b"/k8s/./clusters/c-1/api",
        b"/../k8s/clusters/c-1/api",
    ],
)
def test_dot_segments_and_double_slashes_are_bad(target: bytes) -> None:
    assert route(target)[0] == routing.BAD


@pytest.mark.parametrize(
    "identifier",
    [b"", b"C-1", b"c-1.", b".c-1", b"-c", b"c-", b"c_1", b"c-1;x", b"c-1%20", b"%63-1", b"c-1%2fapi", b"c 1",
     b"c-1\\", b"c" * 64, b"c-1:443", b"c-1@x", b"LOCAL", b"loca%6c", b"local.", b"\xc3\xa9"],
)  # fmt: skip
def test_ids_that_no_cluster_has(identifier: bytes) -> None:
    kind, cluster, _ = route(b"/k8s/clusters/" + identifier + b"/api")
    assert (kind, cluster) in {(routing.CLUSTER, ""), (routing.BAD, "")}


@pytest.mark.parametrize(
    "target",
    [b"/K8S/clusters/c-1/api", b"/k8s/Clusters/c-1/api", b"//k8s/clusters/c-1/api", b"/k8s//clusters/c-1/api",
     b"/%6b8s/clusters/c-1/api", b"/k8s%2fclusters%2fc-1/api", b"/x/k8s/clusters/c-1/api", b"/k8s;/clusters/c-1/api"],
)  # fmt: skip
def test_prefixes_that_are_none(target: bytes) -> None:
    kind, cluster, _ = route(target)
    assert (kind, cluster) == (routing.CONTROL, "")


_alphabet = st.sampled_from(
    [b"/", b"//", b"k8s", b"clusters", b"proxy", b"c-1", b"c-2", b"local", b".", b"..", b"%2e", b"%2f", b"%5c", b"\\",
     b";", b"?", b"%3f", b"api", b"v3", b"cluster", b"C-1", b"%63", b"%", b"%25", b"=", b"&"]
)  # fmt: skip


@given(st.lists(_alphabet, max_size=12).map(b"".join))
@example(b"k8s/clusters/c-1/%2e%2e/c-2")
def test_no_target_goes_to_another_cluster_than_it_names(rest: bytes) -> None:
    """Whatever decoding, case folding or resolving of dots a backend may do: the id is the literal third segment."""
    target = b"/" + rest
    kind, cluster, seen = route(target)
    literal = re.match(rb"/k8s/(?:clusters|proxy)/([^/?]*)", target)
    if kind in {routing.CLUSTER, routing.LOCAL} and cluster:
        if literal is None:
            assert cluster == "local"  # its own API at the top
            assert re.match(rb"/(api|apis|openapi|version)([/?]|$)", target)
        else:
            assert cluster.encode() == literal[1]
            assert target.endswith(seen.removeprefix(b"/"))
    if kind in {routing.CLUSTER, routing.LOCAL, routing.CONTROL}:
        path = seen.partition(b"?")[0]
        for segment in re.split(rb"[/\\;]", unquote_to_bytes(path)):
            assert segment not in {b"..", b"."} or b";" in unquote_to_bytes(path)
        assert seen.startswith(b"/")
    if literal is not None:
        assert seen == target or not seen.startswith(b"//")


@pytest.mark.parametrize(
    "path", [b"/../c-2/x", b"/%2e%2e/c-2/x", b"//c-2/x", b"%2f..%2fc-2/x", b"\\..\\c-2/x"]
)
async def test_nothing_reaches_a_neighbour(path: bytes) -> None:
    desk = Desk()
    client = desk.client()
    client.feed(get(b"/k8s/clusters/c-1" + path))
    assert status(client.take()) in {400, 404}
    assert not any(backend.calls for backend in desk.backends)


async def test_an_id_that_no_cluster_has_is_answered_like_one_that_does_not_exist() -> None:
    desk = Desk()
    client = desk.client()
    client.feed(get(b"/k8s/clusters/C-1/x"))
    odd = client.take()
    desk.verdict = Verdict(id=0, status=404, generation=1, ttl=1.0)
    client.feed(get(b"/k8s/clusters/c-404/x"))
    assert client.take() == odd
