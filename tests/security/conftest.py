"""One instance with two clusters, everything recorded, for all attacks; whoever attacks must leave it working."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import (  # noqa: F401  fixtures
    admin,
    direct,
    door,
    drop,
    first,
    management,
    modern,
    namespace,
    second,
    straight,
    through,
)
from tests.support.door import Door, trusting
from tests.support.instance import Instance
from tests.support.kubectl import Kubectl
from tests.support.people import People, Person, let_see

CROWD = 240
"""Connections that the front door lets in, so that a flood need not be large."""
SHARE = 120
"""The same for one address."""
TALKATIVE = """
import logging

configure = logging.basicConfig
logging.basicConfig = lambda **options: configure(**(options | {"level": logging.DEBUG}))
"""
"""Lets every process and every library say all that it could: no secret may be in that either."""


@pytest.fixture(scope="session")
def instance(kube_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """`outrider up --demo 2` with the fullest logs and little room at the door."""
    limits = ("--max-connections", str(CROWD), "--max-connections-per-address", str(SHARE))
    talkative = tmp_path_factory.mktemp("talkative")
    (talkative / "sitecustomize.py").write_text(TALKATIVE)
    running = Instance(
        tmp_path_factory.mktemp("s"),
        *("--demo", "2", "--audit-level", "3", "--removal-patience", "10", *limits),
        environ={"PYTHONPATH": str(talkative)},
    )
    running.start()
    yield running
    code = running.stop()
    drop(running)
    assert code == 0, running.command.output


@pytest.fixture(scope="session")
def administrator(instance: Instance) -> Door:
    """The front door, for the administrator, as long as the instance runs."""
    token = Door.of_kubeconfig(instance.ready["admin_kubeconfig"]).token
    return Door(instance.ready["url"], trusting(instance.ready["ca_file"]), token=token)


@pytest.fixture(scope="session")
def alice(instance: Instance, administrator: Door, new_kubectl: Path, home: Path) -> Iterator[Person]:
    """Somebody who sees the first cluster, has no rights in it, and sees nothing else."""
    people = People(administrator)
    one = people()
    kubectl = Kubectl(new_kubectl, instance.ready["admin_kubeconfig"], home)
    let_see(kubectl, one.name, instance.ready["clusters"][0]["id"])
    yield one
    people.drop()


@pytest.fixture
def person(administrator: Door) -> Iterator[Callable[[], Person]]:
    """Makes users without any rights, signed in."""
    people = People(administrator)
    yield people
    people.drop()


@pytest.fixture
def allowed(management: Kubectl) -> Iterator[Callable[..., Any]]:  # noqa: F811
    """Gives a user rights on the management cluster: `allowed(user, "get,list", "users.management.cattle.io")`."""
    made: list[str] = []

    def allow(user: str, verbs: str, resources: str) -> None:
        name = f"t-{user}-{len(made)}"
        made.append(name)
        management("create", "clusterrole", name, f"--verb={verbs}", f"--resource={resources}")
        management("create", "clusterrolebinding", name, f"--clusterrole={name}", f"--user={user}")

    yield allow
    for name in made:
        management("delete", "clusterrole,clusterrolebinding", name)
