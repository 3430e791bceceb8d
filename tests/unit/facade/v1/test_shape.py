"""What an object looks like in `/v1`, and that it is the same object when it comes back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from outrider.facade.v1.catalogue import Resource
from outrider.facade.v1.place import Place, parse
from outrider.facade.v1.shape import Shape, unshaped
from outrider.facade.v1.values import Entry, human
from outrider.kube.builtin import CLUSTERROLES, PODS, SERVICES, untyped
from outrider.kube.meta import ObjectKey
from outrider.kube.rules import Rights, Rule, Rules
from outrider.kube.table import Column

NOW = datetime(2026, 6, 1, tzinfo=UTC)
VERBS = frozenset({"get", "list", "update", "patch", "delete"})
ALL = Rule(verbs=("*",), api_groups=("*",), resources=("*",))


def shape(kind: Any = PODS, rules: tuple[Rule, ...] = (ALL,), **more: Any) -> Shape:
    return Shape(
        resource=Resource(kind, VERBS),
        place=Place("https://host", "/k8s/clusters/c-1"),
        rights=Rights(Rules(rules)),
        scoped=lambda _, kind: kind != "Node",
        now=NOW,
        **more,
    )


def entry(obj: dict[str, Any], cells: tuple[Any, ...] = ()) -> Entry:
    meta = obj["metadata"]
    key = ObjectKey(meta.get("namespace", ""), meta["name"])
    return Entry(key, cells, msgspec.json.encode(obj), meta.get("creationTimestamp", ""))


def shown(how: Shape, obj: dict[str, Any], cells: tuple[Any, ...] = ()) -> dict[str, Any]:
    return msgspec.json.decode(msgspec.json.encode(how.show(entry(obj, cells))))


LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)
CONDITION = st.fixed_dictionaries(
    {
        "type": st.sampled_from(("Ready", "Stalled", "x")),
        "status": st.sampled_from(("True", "False", "Unknown", "y")),
    },
    optional={"reason": st.text(max_size=3), "message": st.text(max_size=3)},
)
OBJECTS = st.fixed_dictionaries(
    {
        "apiVersion": st.just("v1"),
        "kind": st.just("Pod"),
        "metadata": st.fixed_dictionaries(
            {"name": st.just("a"), "namespace": st.just("b")},
            optional={
                "labels": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
                "finalizers": st.lists(st.text(max_size=3), max_size=2),
                "ownerReferences": st.just([{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"}]),
            },
        ),
    },
    optional={
        "spec": VALUES,
        "type": VALUES,
        "links": VALUES,
        "id": VALUES,
        "data": VALUES,
        "status": VALUES
        | st.fixed_dictionaries({"conditions": st.lists(CONDITION, max_size=3), "phase": VALUES}),
    },
)


@given(OBJECTS)
def test_what_was_read_is_what_is_written(obj: dict[str, Any]) -> None:
    resource = shown(shape(), obj, ("a", "1/1"))
    assert (resource["id"], resource["type"]) == ("b/a", "pod")
    assert unshaped(resource) == obj


def test_links_are_backed_by_rights() -> None:
    obj = {"metadata": {"name": "a", "namespace": "b"}}
    link = "https://host/k8s/clusters/c-1/v1/pods/b/a"
    view = "https://host/k8s/clusters/c-1/api/v1/namespaces/b/pods/a"
    assert shown(shape(), obj)["links"] == {
        "self": link, "view": view, "update": link, "patch": link, "remove": link,
    }  # fmt: skip
    some = Rule(verbs=("delete",), api_groups=("",), resources=("pods",), resource_names=("a",))
    assert shown(shape(rules=(some,)), obj)["links"] == {"self": link, "view": view, "remove": link}
    other = {"metadata": {"name": "other", "namespace": "b"}}
    assert set(shown(shape(rules=(some,)), other)["links"]) == {"self", "view"}


def test_names_that_a_path_cannot_hold_as_they_are() -> None:
    obj = {"metadata": {"name": "system:controller:a b"}}
    links = shown(shape(CLUSTERROLES), obj)["links"]
    link = "/k8s/clusters/c-1/v1/rbac.authorization.k8s.io.clusterroles/system:controller:a%20b"
    assert links["self"] == f"https://host{link}"
    target = parse(link)
    assert target is not None
    assert (target.cluster, target.type) == ("c-1", "rbac.authorization.k8s.io.clusterroles")
    assert target.parts == ("system:controller:a b",)


def test_owners_and_selectors() -> None:
    owners = [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "1"},
        {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "2"},
    ]
    obj = {"metadata": {"name": "a", "namespace": "b", "ownerReferences": owners}}
    assert shown(shape(), obj)["metadata"]["relationships"] == [
        {"fromId": "b/r", "fromType": "apps.replicaset", "rel": "owner"},
        {"fromId": "n", "fromType": "node", "rel": "owner"},
    ]
    service = {"metadata": {"name": "a", "namespace": "b"}, "spec": {"selector": {"app": "x"}}}
    assert shown(shape(SERVICES), service)["metadata"]["relationships"] == [
        {"toType": "pod", "toNamespace": "b", "rel": "selects", "selector": "app=x"}
    ]
    policy = untyped("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", namespaced=True)
    chosen = {"metadata": {"name": "a", "namespace": "b"}, "spec": {"podSelector": {}}}
    assert shown(shape(policy), chosen)["metadata"]["relationships"][0]["selector"] == ""
    for odd in ({"selector": None}, {"selector": 7}, {"selector": {"app": 7}}, None):
        assert shown(shape(SERVICES), {**service, "spec": odd})["metadata"]["relationships"] == []


def test_ages_are_told_as_they_are_now() -> None:
    columns = (Column("Name"), Column("Age"))
    obj = {"metadata": {"name": "a", "namespace": "b", "creationTimestamp": "2026-05-31T21:30:00Z"}}
    assert shown(shape(columns=columns), obj, ("a", "3s"))["metadata"]["fields"] == ["a", "150m"]
    assert shown(shape(), obj, ("a", "3s"))["metadata"]["fields"] == ["a", "3s"]


def test_times_are_told_as_kubectl_does() -> None:
    minute, hour, day, year = 60, 3600, 86400, 31536000
    told = {
        0: "0s", 119: "119s", 2 * minute: "2m", 2 * minute + 5: "2m5s", 10 * minute + 5: "10m", 179 * minute: "179m",
        3 * hour: "3h", 7 * hour + 59 * minute: "7h59m", 8 * hour + 5 * minute: "8h", 47 * hour: "47h", 2 * day: "2d",
        7 * day + 23 * hour: "7d23h", 8 * day + hour: "8d", 2 * year - 1: "729d", 2 * year + 3 * day: "2y3d",
        8 * year + 3 * day: "8y", -5: "0s",
    }  # fmt: skip
    assert {seconds: human(seconds) for seconds in told} == told
