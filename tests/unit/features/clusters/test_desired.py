"""What every cluster is to hold: who administers, and the agent's credentials under all their names."""

from __future__ import annotations

from typing import Any

import pytest

from outrider.apis.management.user import User
from outrider.features.clusters.administrators import administrators
from outrider.features.clusters.desired import admin_binding, desired_objects
from outrider.features.clusters.manifest import AgentManifest, credentials
from outrider.kube.meta import ObjectKey, ObjectMeta

AGENT = AgentManifest(server_url="https://h", token="b" * 54, image="x", cacerts="PEM")


def test_objects_in_order() -> None:
    objects = desired_objects(["user-b", "user-a", "user-b"], AGENT, ["cattle-credentials-0123456789"])
    assert [obj["metadata"]["name"] for obj in objects] == [
        credentials(AGENT)[0]["metadata"]["name"],
        "cattle-credentials",
        "cattle-ca",
        "cattle-credentials-0123456789",
        "globaladmin-user-a",
        "globaladmin-user-b",
    ]
    assert objects[3]["data"] == objects[0]["data"]
    assert objects == desired_objects(["user-a", "user-b"], AGENT, ["cattle-credentials-0123456789"])


def test_an_administrator_is_cluster_admin() -> None:
    binding = admin_binding("user-a")
    assert binding["roleRef"]["name"] == "cluster-admin"
    assert binding["metadata"]["labels"] == {"cattle.io/creator": "norman"}
    assert binding["subjects"][0] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "User",
        "name": "user-a",
    }


@pytest.mark.parametrize("user", ["u/../x", "A B", "ü", "x" * 300, "-a"])
def test_any_user_has_a_name_that_the_api_takes(user: str) -> None:
    binding = admin_binding(user)
    name = binding["metadata"]["name"].removeprefix("globaladmin-")
    assert len(name) == 32
    assert set(name) <= set("0123456789abcdef")
    assert binding["subjects"][0]["name"] == user


class Users:
    def __init__(self, *users: User) -> None:
        self._users = {user.metadata.name: user for user in users}

    def get(self, key: ObjectKey) -> User | None:
        return self._users.get(key.name)

    def list(self, namespace: str | None = None) -> Any:
        return self._users.values()

    def index(self, name: str, value: str) -> Any:
        raise KeyError(name)


def user(name: str, **fields: Any) -> User:
    return User(metadata=ObjectMeta(name=name), **fields)


def binding(
    *names: str, role: str = "cluster-admin", kind: str = "User", ref: str = "ClusterRole"
) -> dict[str, Any]:
    return {
        "roleRef": {"kind": ref, "name": role},
        "subjects": [{"kind": kind, "name": name} for name in names],
    }


def test_who_administers() -> None:
    users = Users(user("a"), user("b"), user("off", enabled=False), user("plain"))
    found = administrators(
        [
            binding("b", "a", "off", "system:admin", "outrider-control"),
            binding("plain", role="view"),
            binding("plain", kind="Group"),
            {"roleRef": None, "subjects": None},
        ],
        users,
    )
    assert found == ["a", "b"]
