"""What is no request, and what leads elsewhere than it says: smuggling, paths between clusters, other methods."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest

from tests.support.door import Door
from tests.support.kubectl import Kubectl
from tests.support.people import Person, same
from tests.support.raw_client import exchange, head, status, upgrade

UNKNOWN = "c-zzzzz"
REASONS = re.compile(rb'(?i)without dot segments|no cluster available|"code":"notfound"')


def cut(answer: bytes) -> list[bytes]:
    return re.findall(rb"HTTP/1\.1 (\d+) ", answer)


# smuggling

AMBIGUOUS = [
    pytest.param(("Content-Length: 5", "Transfer-Encoding: chunked"), id="CL.TE"),
    pytest.param(("Transfer-Encoding: chunked", "Content-Length: 5"), id="TE.CL"),
    pytest.param(("Transfer-Encoding: chunked", "Transfer-Encoding: identity"), id="TE.TE"),
    pytest.param(("Transfer-Encoding: xchunked",), id="TE unknown"),
    pytest.param(("Transfer-Encoding : chunked",), id="space before the colon"),
    pytest.param(("Transfer-Encoding:\r\n chunked",), id="obs-fold"),
    pytest.param(("X: a\r\n\tb", "Content-Length: 3"), id="obs-fold elsewhere"),
    pytest.param(("Content-Length: 3", "Content-Length: 4"), id="two lengths"),
    pytest.param(("Content-Length: +3",), id="signed"),
    pytest.param(("Content-Length: 3, 3",), id="list"),
    pytest.param(("X: a\nTransfer-Encoding: chunked",), id="bare LF"),
    pytest.param(("X: a\rTransfer-Encoding: chunked",), id="bare CR"),
    pytest.param(("X: a\0b",), id="NUL"),
]


@pytest.mark.parametrize("lines", AMBIGUOUS)
def test_ambiguous_framing_is_refused_and_nothing_behind_it_runs(
    through: Door, direct: Kubectl, lines: tuple[str, ...]
) -> None:
    path = f"{through.prefix}/api/v1/namespaces/default/configmaps"
    made = b'{"metadata":{"name":"smuggled"}}'
    inner = head(through, f"POST {path}", "Content-Type: application/json", f"Content-Length: {len(made)}")
    outer = head(through, f"POST {path}", "Content-Type: application/json", *lines, close=False)
    answer = exchange(through, outer + b"0\r\n\r\n" + inner + made)
    assert cut(answer) == [b"400"], answer
    assert b'"kind":"Status"' in answer
    assert b"connection: close" in answer.lower()
    missing = direct.attempt("--namespace=default", "get", "configmap", "smuggled")
    assert "NotFound" in missing.stderr


@pytest.mark.parametrize(
    "chunks",
    [b"zz\r\n{}\r\n0\r\n\r\n", b"-1\r\n{}\r\n0\r\n\r\n", b"2\n{}\r\n0\r\n\r\n", b"2\r\n{}XX0\r\n\r\n"],
)
def test_bad_chunks_are_refused(through: Door, chunks: bytes) -> None:
    path = f"{through.prefix}/api/v1/namespaces/default/configmaps?dryRun=All"
    lines = ("Content-Type: application/json", "Transfer-Encoding: chunked")
    answer = exchange(through, head(through, f"POST {path}", *lines, close=False) + chunks)
    assert cut(answer) == [b"400"], answer
    assert b"not valid HTTP/1.1" in answer


def test_sound_framing_is_served(through: Door) -> None:
    """The control to all of the above: the same request, with a length and with chunks."""
    path = f"{through.prefix}/api/v1/namespaces/default/configmaps?dryRun=All"
    body = b'{"metadata":{"name":"sound"}}'
    typed = "Content-Type: application/json"
    sized = exchange(through, head(through, f"POST {path}", typed, f"Content-Length: {len(body)}") + body)
    chunked = exchange(
        through,
        head(through, f"POST {path}", typed, "Transfer-Encoding: chunked")
        + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
    )
    assert (cut(sized), cut(chunked)) == ([b"201"], [b"201"])


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("X-Long: " + "y" * 80_000, 431),
        ("Cookie: " + "; ".join(f"a{n}={'y' * 500}" for n in range(60)), 431),
        ("X-Fits: " + "y" * 8_000, 200),
    ],
)
def test_heads_have_a_limit(through: Door, line: str, code: int) -> None:
    answer = exchange(through, head(through, f"GET {through.prefix}/api", line))
    assert status(answer) == code
    assert code == 200 or b"too large" in answer


def test_bodies_of_strangers_have_a_limit(door: Door) -> None:
    """Nobody has signed in, so nobody gets to send much."""
    path = "/v3-public/localProviders/local?action=login"
    refused = door.request("POST", path, b'{"username":"' + b"a" * (2 << 20) + b'"}')
    assert refused.status == 413
    assert "larger than" in refused.json()["message"]
    assert door.request("POST", path, b'{"username":"nobody","password":"x"}').status == 401


# paths


def sneaky(here: str, there: str) -> list[str]:
    """Paths that begin in one cluster and would end in another, for a lenient reader."""
    return [
        f"/k8s/clusters/{here}/../{there}/api",
        f"/k8s/clusters/{here}/%2e%2e/{there}/api",
        f"/k8s/clusters/{here}/%2E%2e/{there}/api",
        f"/k8s/clusters/{here}/.%2e/{there}/api",
        f"/k8s/clusters/{here}%2f..%2f{there}/api",
        f"/k8s/clusters/{here}/..;/{there}/api",
        f"/k8s/clusters/{here}/..%5c{there}/api",
        f"/k8s/clusters/{here}\\..\\{there}/api",
        f"/k8s/clusters/./{there}/api",
        f"/k8s/clusters//{there}/api",
        f"//k8s/clusters/{there}/api",
        f"/k8s//clusters/{there}/api",
        f"/k8s/clusters/{here}//../{there}/api",
        f"/K8S/clusters/{there}/api",
        f"/k8s/Clusters/{there}/api",
        f"/k8s/clusters/{there.upper()}/api",
        f"/k8s/clusters/{there}./api",
        f"/k8s/clusters/{there}%20/api",
        f"/k8s/clusters/%20{there}/api",
        f"/k8s/clusters/{there}%00/api",
        f"/k8s/clusters/{there}%2fapi",
        f"/k8s/clusters/{there};{here}/api",
        f"/k8s/clusters/{here},{there}/api",
        f"/k8s/clusters/{there}?/{here}/api",
        f"/k8s/clusters/?id={there}",
        f"/k8s/proxy/{here}/../{there}/api",
        f"/v3/../k8s/clusters/{there}/api",
        f"/k8s/clusters/{here}/api/../../{there}/api",
    ]


@pytest.mark.parametrize("number", range(len(sneaky("a", "b"))))
def test_no_path_steps_from_one_cluster_into_another(
    alice: Person, first: dict[str, Any], second: dict[str, Any], number: int
) -> None:
    """The one who may see the first cluster only; nothing of the second is answered, and `local` is no exception."""
    for there in (second["id"], "local"):
        path = sneaky(first["id"], there)[number]
        answer = exchange(alice.door, head(alice.door, f"GET {path}"))
        assert status(answer) in {400, 404}, (path, answer)
        assert b"APIVersions" not in answer
        assert REASONS.search(answer), (path, answer)


def test_plain_paths_reach_their_cluster(alice: Person, first: dict[str, Any]) -> None:
    """The control: the same caller, a path that means what it says; dots inside of a segment are no steps."""
    for path in ("/api", "/api/v1/namespaces/a..b", "/api?x=../y"):
        answer = exchange(alice.door, head(alice.door, f"GET /k8s/clusters/{first['id']}{path}"))
        assert status(answer) in {200, 403, 404}, answer
        assert b"No cluster" not in answer
        assert b"dot segments" not in answer


# which clusters are there


def test_unknown_and_forbidden_clusters_look_the_same(
    alice: Person, second: dict[str, Any], first: dict[str, Any]
) -> None:
    """In status, headers, body; for every method, for upgrades, and with hostile names."""
    ids = (second["id"], "local", "c-nobody", "Not_An_Id", "c-" + "x" * 80)
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"):
        unknown = alice.door.request(method, f"/k8s/clusters/{UNKNOWN}/api/v1/pods")
        assert unknown.status == 404
        assert method == "HEAD" or unknown.json()["kind"] == "Status"
        for name in ids:
            assert same(alice.door.request(method, f"/k8s/clusters/{name}/api/v1/pods"), unknown), (
                method,
                name,
            )
    seen = set()
    for name in (UNKNOWN, second["id"], "local"):
        code, answer, stream = upgrade(alice.door, f"/k8s/clusters/{name}/api/v1/pods?watch=1")
        stream.close()
        seen.add((code, re.sub(rb"(?i)date: [^\r]+", b"", answer)))
    assert [code for code, _ in seen] == [404]
    assert alice.door.get(f"/k8s/clusters/{first['id']}/api").status == 200


def test_unknown_and_forbidden_clusters_take_the_same_time(alice: Person, second: dict[str, Any]) -> None:
    """Fresh verdicts and known ones: the medians do not tell which is which."""

    def seconds(name: str) -> float:
        began = time.perf_counter()
        assert alice.door.get(f"/k8s/clusters/{name}/api").status == 404
        return time.perf_counter() - began

    warm = {
        name: median(samples) for name, samples in _alternating([UNKNOWN, second["id"]], seconds, 25).items()
    }
    assert max(warm.values()) < 2 * min(warm.values()) + 0.002, warm
    cold = [f"c-{number:05d}" for number in range(12)]
    first_answers = median(seconds(name) for name in cold)
    assert first_answers < 1.0


def _alternating(names: list[str], measure: Callable[[str], float], rounds: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            taken[name].append(measure(name))
    return taken


# what must not be there


@pytest.mark.parametrize("path", ["/v3-public/authTokens", "/v3-public/authtokens", "/v1-public/authTokens"])
def test_cve_2025_23387_tokens_of_a_sign_in_cannot_be_listed_or_deleted(door: Door, path: str) -> None:
    for method in ("GET", "DELETE"):
        assert door.request(method, path).status in {404, 405}
    known, unknown = (door.request("DELETE", f"{path}/{name}") for name in ("some-id", "another-id"))
    assert known.status in {404, 405}
    assert same(known, unknown)
    assert door.get("/v3-public/authProviders").status == 200


@pytest.mark.parametrize("path", ["/meta/proxy/", "/v3/proxy/", "/meta/proxy/http:/", "/v1/meta/proxy/"])
def test_cve_2019_14435_and_2025_54468_there_is_no_proxy_to_anywhere(
    administrator: Door, unused_tcp_port_factory: Callable[[], int], path: str
) -> None:
    """Not even for the administrator, to any address; nobody is called, so nothing leaks."""
    import socket

    with socket.create_server(("127.0.0.1", unused_tcp_port_factory())) as target:
        target.setblocking(False)
        port = target.getsockname()[1]
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", "169.254.169.254", f"[::1]:{port}"):
            answer = administrator.request(
                "GET", f"{path}{host}/latest/meta-data", headers={"X-API-Auth-Header": "Bearer x"}
            )
            assert answer.status == 404, path
        with pytest.raises(BlockingIOError):
            target.accept()


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b"[" * 100_000,
        b'{"username":' + b"[" * 3000 + b"]" * 3000 + b"}",
        b"\xff\xfe{\x00}",
        b'{"username":1e999999}',
        b'{"username":"\\ud800","password":"\\udfff"}',
        b"null",
        b"0" * 1000,
        b'{"username":"a","username":"b"}',
        b"\x00" * 1000,
    ],
)
@pytest.mark.parametrize(
    "path",
    ["/v3-public/localProviders/local?action=login", "/v1-public/login", "/v3-public/authProviders"],
)
def test_cve_2025_23388_odd_bodies_before_sign_in_do_no_harm(door: Door, path: str, body: bytes) -> None:
    answer = door.request("POST", path, body, {"Content-Type": "application/json"})
    assert 400 <= answer.status < 500, answer
    assert answer.header("Content-Type").startswith("application/json")
    assert b"Traceback" not in answer.body
    assert door.get("/v3-public/authProviders").status == 200


MARKUP = "<script>alert(1)</script>"


def test_markup_in_names_and_errors_stays_text(
    administrator: Door, alice: Person, first: dict[str, Any], management: Kubectl
) -> None:
    """CVE-2021-25313, CVE-2022-43760, CVE-2023-32192, CVE-2023-32193, CVE-2024-52281."""
    made = administrator.post("/v3/tokens", {"type": "token", "description": MARKUP})
    echoing = [
        made,
        administrator.get(f"/v3/tokens/{made.json()['id']}"),
        administrator.get("/v3/<script>alert(1)</script>"),
        administrator.get("/v3/users/%3Cscript%3Ealert(1)%3C%2Fscript%3E"),
        administrator.get(f"/v3/clusters/{MARKUP}?action={MARKUP}"),
        administrator.post("/v3/tokens?action=%3Cscript%3E"),
        administrator.post("/v3/users", {"type": MARKUP, "username": MARKUP, "password": "x"}),
        alice.door.get("/k8s/clusters/<script>/api"),
        alice.door.get("/v3/import/<script>.yaml"),
        alice.door.post(
            "/v3-public/localProviders/local?action=login", {"username": MARKUP, "password": MARKUP}
        ),
    ]
    assert made.json()["description"] == MARKUP
    for answer in echoing:
        kind = answer.header("Content-Type").partition(";")[0]
        assert kind in {"application/json", "text/plain"}, answer
        assert answer.header("X-Content-Type-Options") == "nosniff", answer
    administrator.request("DELETE", f"/v3/tokens/{made.json()['id']}")
