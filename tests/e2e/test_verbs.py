"""What people do with kubectl all day, through Outrider, with a new kubectl and one of 2020."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.conftest import until
from tests.support.kubectl import Kubectl


def manifest(name: str, namespace: str, **data: str) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": namespace, "labels": {"made": "here"}},
            "data": data,
        }
    )


def test_create_get_list_delete(kubectl: Kubectl, direct: Kubectl, namespace: str) -> None:
    kubectl = in_namespace(kubectl, namespace)
    kubectl("create", "configmap", "one", "--from-literal=key=value")
    assert kubectl.json("get", "configmap", "one")["data"] == {"key": "value"}
    made = direct.json("--namespace", namespace, "get", "configmap", "one")
    assert made["data"] == {"key": "value"}
    kubectl("create", "configmap", "two", "--from-literal=key=other")
    names = kubectl("get", "configmaps", "--output=name").split()
    assert {"configmap/one", "configmap/two"} <= set(names)
    head, *rows = kubectl("get", "configmaps").splitlines()
    assert head.split() == ["NAME", "DATA", "AGE"]
    assert {row.split()[0] for row in rows} >= {"one", "two"}
    kubectl("delete", "configmap", "one")
    gone = kubectl.attempt("get", "configmap", "one")
    assert gone.returncode == 1
    assert '(NotFound): configmaps "one" not found' in gone.stderr


def in_namespace(kubectl: Kubectl, namespace: str) -> Kubectl:
    """kubectl that has a namespace of its own."""

    class Inside(Kubectl):
        def command(self, *arguments: str) -> list[str]:
            return [*super().command(), "--namespace", namespace, *arguments]

    return Inside(kubectl.program, kubectl.config, kubectl.home)


def test_watch(kubectl: Kubectl, direct: Kubectl, namespace: str) -> None:
    kubectl = in_namespace(kubectl, namespace)
    with kubectl.background("get", "configmaps", "--watch", "--output-watch-events") as watch:
        direct("--namespace", namespace, "create", "configmap", "seen", "--from-literal=a=b")
        assert "ADDED" in watch.line("seen")
        direct("--namespace", namespace, "label", "configmap", "seen", "changed=yes")
        assert "MODIFIED" in watch.line("seen")
        direct("--namespace", namespace, "delete", "configmap", "seen")
        assert "DELETED" in watch.line("seen")


def test_apply_on_either_side(kubectl: Kubectl, direct: Kubectl, namespace: str) -> None:
    kubectl(
        "apply",
        "--server-side",
        "--field-manager=one",
        "-f",
        "-",
        stdin=manifest("a", namespace, x="1", y="1"),
    )
    kubectl("apply", "--server-side", "--field-manager=one", "-f", "-", stdin=manifest("a", namespace, x="2"))
    assert direct.json("--namespace", namespace, "get", "configmap", "a")["data"] == {"x": "2"}
    rival = kubectl.attempt(
        "apply", "--server-side", "--field-manager=two", "-f", "-", stdin=manifest("a", namespace, x="3")
    )
    assert rival.returncode == 1
    assert "conflict" in rival.stderr.lower()
    forced = ("apply", "--server-side", "--field-manager=two", "--force-conflicts", "-f", "-")
    kubectl(*forced, stdin=manifest("a", namespace, x="3"))
    assert direct.json("--namespace", namespace, "get", "configmap", "a")["data"] == {"x": "3"}
    kubectl("apply", "-f", "-", stdin=manifest("b", namespace, x="1"))
    kubectl("apply", "-f", "-", stdin=manifest("b", namespace, y="2"))
    assert direct.json("--namespace", namespace, "get", "configmap", "b")["data"] == {"y": "2"}


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("merge", {"data": {"x": None, "z": "9"}}),
        ("strategic", {"data": {"x": None, "z": "9"}}),
        ("json", [{"op": "remove", "path": "/data/x"}, {"op": "add", "path": "/data/z", "value": "9"}]),
    ],
)
def test_patch(kubectl: Kubectl, direct: Kubectl, namespace: str, kind: str, patch: Any) -> None:
    direct("apply", "-f", "-", stdin=manifest("p", namespace, x="1", y="2"))
    in_namespace(kubectl, namespace)(
        "patch", "configmap", "p", f"--type={kind}", "--patch", json.dumps(patch)
    )
    assert direct.json("--namespace", namespace, "get", "configmap", "p")["data"] == {"y": "2", "z": "9"}


def test_replace_edit_conflict(kubectl: Kubectl, namespace: str) -> None:
    kubectl = in_namespace(kubectl, namespace)
    kubectl("create", "configmap", "r", "--from-literal=a=1")
    old = kubectl.json("get", "configmap", "r")
    kubectl("label", "configmap", "r", "moved=on")
    refused = kubectl.attempt("replace", "-f", "-", stdin=json.dumps(old))
    assert refused.returncode == 1
    assert "(Conflict)" in refused.stderr
    again = kubectl.attempt("create", "configmap", "r")
    assert "already exists" in again.stderr


def test_get_raw(kubectl: Kubectl, direct: Kubectl, namespace: str, first: dict[str, Any]) -> None:
    # kubectl of 2020 takes a raw path as the whole path: the one of its kubeconfig is lost.
    prefix = f"/k8s/clusters/{first['id']}" if "kubectl-old" in str(kubectl.program) else ""
    for path in ("/version", "/api", "/apis", f"/api/v1/namespaces/{namespace}", "/openapi/v2?timeout=32s"):
        assert kubectl("get", "--raw", prefix + path) == direct("get", "--raw", path), path
    assert kubectl("get", "--raw", f"{prefix}/readyz") == "ok"
    made, collection = manifest("raw", namespace, a="b"), f"/api/v1/namespaces/{namespace}/configmaps"
    kubectl("create", "--raw", prefix + collection, "-f", "-", stdin=made)
    assert direct.json("--namespace", namespace, "get", "configmap", "raw")["data"] == {"a": "b"}
    kubectl("delete", "--raw", f"{prefix}{collection}/raw")
    missing = kubectl.attempt("get", "--raw", f"{prefix}{collection}/raw")
    assert "NotFound" in missing.stderr


def test_names_and_values_of_every_sort(kubectl: Kubectl, direct: Kubectl, namespace: str) -> None:
    value = 'Grüße, 世界 🚜\ttab "quoted" %2F%00 \\ \r\n'
    kubectl("apply", "-f", "-", stdin=manifest("a.b.c", namespace, text=value))
    assert direct.json("--namespace", namespace, "get", "configmap", "a.b.c")["data"] == {"text": value}
    selected = in_namespace(kubectl, namespace)(
        "get", "configmaps", "--selector=made in (here,there),!not", "--output=name"
    )
    assert selected.split() == ["configmap/a.b.c"]


def test_delete_a_collection_and_wait(kubectl: Kubectl, direct: Kubectl, namespace: str) -> None:
    inside = in_namespace(kubectl, namespace)
    for name in ("x", "y", "z"):
        direct("apply", "-f", "-", stdin=manifest(name, namespace))
    inside("delete", "configmaps", "--selector=made=here")
    left = in_namespace(direct, namespace)("get", "configmaps", "--selector=made=here", "--output=name")
    assert left == ""


def test_explain_api_resources_and_who_am_i(modern: Kubectl, first: dict[str, Any]) -> None:
    assert "configmaps" in modern("api-resources", "--output=name")
    assert "FIELDS" in modern("explain", "configmap")
    who = modern.json("auth", "whoami")["status"]["userInfo"]
    assert who["username"].startswith("user-")
    assert {"system:authenticated", "system:cattle:authenticated"} <= set(who["groups"])
    assert who["extra"]["username"] == ["admin"]
    assert who["extra"]["principalid"] == [f"local://{who['username']}"]


def test_a_namespace_goes_with_what_is_in_it(kubectl: Kubectl, direct: Kubectl) -> None:
    name = f"t-{kubectl.program.parent.name[:4].strip('.')}-gone".lower()
    kubectl("create", "namespace", name)
    in_namespace(kubectl, name)("create", "configmap", "inside")
    kubectl("delete", "namespace", name, "--wait=false")
    until(lambda: direct.attempt("get", "namespace", name).returncode == 1)
