"""Users without any rights, signed in, and what they are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from tests.support.door import Answer, Door
from tests.support.kubectl import Kubectl

LOGIN = "/v3-public/localProviders/local?action=login"
PASSWORD = "correct horse battery"


@dataclass
class Person:
    """A user who has signed in: user name, object name, and the door with the session's token."""

    username: str
    name: str
    door: Door


class People:
    """Makes users as `admin`; `drop` removes them."""

    def __init__(self, admin: Door) -> None:
        self._admin = admin
        self._made: list[str] = []

    def __call__(self, password: str = PASSWORD) -> Person:
        """A new one."""
        username = f"jane-{uuid4().hex[:6]}"
        # The roles of new users were decided, and are none
        annotations = {"authz.management.cattle.io/creator-role-bindings": '{"required":[],"created":[]}'}
        body = {
            "type": "user",
            "username": username,
            "password": password,
            "name": "Jane",
            "annotations": annotations,
        }
        created = self._admin.post("/v3/users", body)
        assert created.status == 201, created.body
        self._made.append(created.json()["id"])
        door = self._admin.with_token("")
        session = door.post(LOGIN, {"username": username, "password": password})
        assert session.status == 201, session.body
        return Person(username, self._made[-1], door.with_token(session.json()["token"]))

    def drop(self) -> None:
        """Deletes all that were made."""
        for name in self._made:
            self._admin.request("DELETE", f"/v3/users/{name}")


def let_see(management: Kubectl, user: str, cluster: str) -> None:
    """Lets a user see one cluster: what may be done in it is for that cluster's own RBAC."""
    rule = ("--verb=get", "--resource=clusters.management.cattle.io", f"--resource-name={cluster}")
    management("create", "clusterrole", f"see-{user}", *rule)
    management("create", "clusterrolebinding", f"see-{user}", f"--clusterrole=see-{user}", f"--user={user}")


def grant(management: Kubectl, direct: Kubectl, user: str, cluster: str, namespace: str) -> None:
    """Lets a user see one cluster, and read one namespace in it."""
    let_see(management, user, cluster)
    direct(
        "--namespace", namespace, "create", "rolebinding", "reader", "--clusterrole=view", f"--user={user}"
    )


def same(one: Answer, other: Answer) -> bool:
    """Whether nobody can tell two answers apart, but by the time that they were given."""
    stable = [[(n, v) for n, v in answer.headers if n.lower() != "date"] for answer in (one, other)]
    return one.status == other.status and one.body == other.body and stable[0] == stable[1]


def who_am_i(door: Door, cluster: str, headers: dict[str, str] | None = None) -> Answer:
    """What the cluster's API server takes the caller for."""
    review: dict[str, Any] = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = f"/k8s/clusters/{cluster}/apis/authentication.k8s.io/v1/selfsubjectreviews"
    return door.request("POST", path, review, headers)
