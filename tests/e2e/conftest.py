"""One instance with two clusters for the whole session, started and stopped as a user does it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.door import Door, trusting
from tests.support.hosted import drop_state
from tests.support.instance import Instance
from tests.support.kubectl import Kubectl


def until(condition: Callable[[], Any], seconds: float = 30.0, what: str = "") -> Any:
    """Waits for something true, and returns it; TimeoutError when it does not come."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(what or f"not within {seconds:.0f} s; it is {value!r}")
        time.sleep(0.05)


def drop(instance: Instance) -> None:
    """Removes the bulk of a stopped instance's data; logs stay for whoever must look."""
    for folder in (instance.data / "management", *instance.data.glob("clusters/*/kube")):
        drop_state(folder)


@pytest.fixture(scope="session")
def instance(kube_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """`outrider up --demo 2`, shared by all tests that leave it as they found it."""
    running = Instance(tmp_path_factory.mktemp("e"), "--demo", "2", "--removal-patience", "10")
    running.start()
    yield running
    code = running.stop()
    drop(running)
    assert code == 0, running.command.output


@pytest.fixture
def own(kube_binary: Path, tmp_path: Path) -> Iterator[Callable[..., Instance]]:
    """Makes instances for one test; those still running are stopped at its end."""
    made: list[Instance] = []

    def make(*options: str, environ: dict[str, str] | None = None) -> Instance:
        folder = tmp_path / f"i{len(made)}"
        folder.mkdir()
        made.append(Instance(folder, *options, environ=environ))
        return made[-1]

    yield make
    for one in made:
        if one.started:
            one.stop()
            drop(one)


@pytest.fixture
def first(instance: Instance) -> dict[str, Any]:
    """The first cluster's entry in the ready file."""
    return instance.ready["clusters"][0]


@pytest.fixture
def second(instance: Instance) -> dict[str, Any]:
    """The second cluster's."""
    return instance.ready["clusters"][1]


@pytest.fixture(params=["new", "old"])
def kubectl(request: pytest.FixtureRequest, first: dict[str, Any], home: Path) -> Kubectl:
    """kubectl, new and old, with the kubeconfig of the first cluster through Outrider."""
    return Kubectl(request.getfixturevalue(f"{request.param}_kubectl"), first["kubeconfig"], home)


@pytest.fixture
def modern(new_kubectl: Path, first: dict[str, Any], home: Path) -> Kubectl:
    """The new kubectl alone, for what does not depend on its age."""
    return Kubectl(new_kubectl, first["kubeconfig"], home)


@pytest.fixture
def direct(modern: Kubectl, first: dict[str, Any]) -> Kubectl:
    """kubectl straight to the first cluster's API server."""
    return modern.at(first["direct_kubeconfig"])


@pytest.fixture
def management(modern: Kubectl, instance: Instance) -> Kubectl:
    """kubectl for the management cluster, as its administrator, through the front door."""
    return modern.at(instance.ready["admin_kubeconfig"])


@pytest.fixture
def namespace(direct: Kubectl) -> Iterator[str]:
    """A new namespace of the first cluster."""
    name = f"t-{uuid4().hex[:8]}"
    direct("create", "namespace", name)
    yield name
    direct("delete", "namespace", name, "--wait=false")


@pytest.fixture
def door(instance: Instance) -> Door:
    """The front door, for a client without any credential."""
    return Door(instance.ready["url"], trusting(instance.ready["ca_file"]))


@pytest.fixture
def admin(door: Door, instance: Instance) -> Door:
    """The front door, for the administrator."""
    return door.with_token(Door.of_kubeconfig(instance.ready["admin_kubeconfig"]).token)


@pytest.fixture
def through(first: dict[str, Any]) -> Door:
    """The first cluster's API through Outrider, as the administrator."""
    return Door.of_kubeconfig(first["kubeconfig"])


@pytest.fixture
def straight(first: dict[str, Any]) -> Door:
    """The first cluster's API server itself."""
    return Door.of_kubeconfig(first["direct_kubeconfig"])
