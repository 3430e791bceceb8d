"""What paths of /v3 mean, and where somebody may have rights."""

from __future__ import annotations

from typing import Any

import pytest

from outrider.apis.views.view import Context, View
from outrider.facade.v3.inside import inside_views, workload_of
from outrider.facade.v3.places import Places, subjects_of
from outrider.facade.v3.registry import RETIRED, Registry
from outrider.facade.v3.target import Target, parse
from outrider.kube.identity import Identity


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("", Target()),
        ("/", Target()),
        ("/clusters", Target(plural="clusters")),
        ("/ClusterRegistrationTokens/c-1:x", Target(plural="clusterregistrationtokens", id="c-1:x")),
        ("/clusters/c-1/Nodes", Target(plural="clusters", id="c-1", rest="nodes")),
        ("/principals/local%3A%2F%2Fuser-1", Target(plural="principals", id="local://user-1")),
        ("/cluster/c-1", Target(context=Context.CLUSTER, root="c-1")),
        (
            "/Cluster/c-1/namespaces/x",
            Target(context=Context.CLUSTER, root="c-1", plural="namespaces", id="x"),
        ),
        ("/project/c-1:p-1/pods", Target(context=Context.PROJECT, root="c-1:p-1", plural="pods")),
        ("/cluster", None),
        ("/a/b/c/d", None),
    ],
)
def test_paths(path: str, target: Target | None) -> None:
    assert parse(path) == target


def test_a_projects_root_is_in_its_cluster() -> None:
    target = parse("/project/c-1:p-1/pods")
    assert target is not None
    assert (target.cluster, target.project) == ("c-1", "c-1:p-1")
    inside = parse("/cluster/c-1/pods")
    assert inside is not None
    assert (inside.cluster, inside.project) == ("c-1", "")


def test_no_two_views_share_a_name_at_one_root() -> None:
    views: list[View] = inside_views()
    registry = Registry(views)
    assert registry.find(Context.CLUSTER, "NAMESPACES") is not None
    assert registry.find(Context.MANAGEMENT, "namespaces") is None
    assert registry.of_type(Context.PROJECT, "Pod") is not None
    assert registry.is_below("persistentVolumes")
    with pytest.raises(ValueError, match="namespaces"):
        Registry([*views, views[0]])
    assert not set(RETIRED) & {view.plural.lower() for view in views}


class Bindings:
    def __init__(self, *bindings: dict[str, Any]) -> None:
        self._bindings = bindings

    def index(self, name: str, value: str) -> list[dict[str, Any]]:
        return [one for one in self._bindings if value in subjects_of(one)]


def binding(namespace: str, kind: str, name: str) -> dict[str, Any]:
    return {
        "metadata": {"namespace": namespace, "name": "b"},
        "subjects": [{"kind": kind, "name": name}],
    }


def test_places_are_those_whose_bindings_name_a_user_or_a_group_of_theirs() -> None:
    places = Places(
        Bindings(
            binding("b", "User", "jane"),
            binding("a", "Group", "okta_group://x"),
            binding("c", "User", "okta_group://x"),
            binding("d", "ServiceAccount", "jane"),
            {"metadata": {"namespace": "e", "name": "b"}},
        )
    )
    assert places.of(Identity("jane", ("okta_group://x",))) == ["a", "b"]
    assert places.of(Identity("bob")) == []


@pytest.mark.parametrize(
    ("owner", "labels", "workload"),
    [
        (None, {}, ""),
        (("ReplicaSet", "web-5f6d"), {"pod-template-hash": "5f6d"}, "deployment:n:web"),
        (("ReplicaSet", "lonely"), {}, "replicaset:n:lonely"),
        (("DaemonSet", "agent"), {}, "daemonset:n:agent"),
        (("Something", "else"), {}, ""),
    ],
)
def test_the_workload_of_a_pod(owner: tuple[str, str] | None, labels: dict[str, str], workload: str) -> None:
    owners = [{"kind": owner[0], "name": owner[1], "controller": True}] if owner else []
    pod = {"metadata": {"namespace": "n", "name": "p", "labels": labels, "ownerReferences": owners}}
    assert workload_of(pod) == workload
