"""What every cluster is to hold: who administers, and the agent's credentials under all their names."""

from __future__ import annotations

from typing import Any

import pytest

from outrider.apis.management.user import User
from outrider.delivery.entries import Entry
from outrider.features.clusters.administrators import administrators
from outrider.features.clusters.desired import admin_binding, desired_entries
from outrider.features.clusters.manifest import AgentManifest, credentials_name, objects
from outrider.kube.meta import ObjectKey, ObjectMeta

AGENT = AgentManifest(server_url="https://h", token="b" * 54, image="x", cacerts="PEM")


def names(entries: list[Entry]) -> list[str]:
    return [entry.object["metadata"]["name"] for entry in entries]


def test_the_agent_its_credentials_and_its_administrators() -> None:
    other_token = "c" * 54
    former = {"cattle-credentials-0123456789": AGENT.token, "cattle-credentials-old": other_token}
    entries = desired_entries(
        ["user-b", "user-a", "user-b"], AGENT, tokens=[AGENT.token, other_token], former_names=former
    )
    own = names([Entry(owner="x", object=obj) for obj in objects(AGENT)])
    assert names(entries) == [
        "cattle-impersonation-system",
        *own,
        credentials_name("https://h", other_token, ""),
        "cattle-credentials-0123456789",
        "cattle-credentials-old",
        "globaladmin-user-a",
        "globaladmin-user-b",
    ]
    found = {entry.object["metadata"]["name"]: entry.object for entry in entries}
    mine = found[credentials_name("https://h", AGENT.token, "")]
    assert found["cattle-credentials-0123456789"]["data"] == mine["data"]
    assert found["cattle-credentials-old"]["data"] != mine["data"]


def test_the_namespace_of_the_agent_is_never_deleted() -> None:
    released = [entry.object["metadata"]["name"] for entry in desired_entries([], AGENT) if entry.release]
    assert released == ["cattle-system"]


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
