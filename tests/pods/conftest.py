"""One node, one Outrider in its network, and one cluster imported with its agent as a pod, for the session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.imported import Imported, import_cluster
from tests.support.instance import Instance
from tests.support.kubectl import Kubectl
from tests.support.not_run import not_run
from tests.support.pods import needs
from tests.support.pods.network import ADDRESS
from tests.support.pods.node import RunningNode
from tests.support.pods.objects import pod
from tools.image.build import Builder
from tools.setup.places import checkout


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker("pods")
    # It takes the cluster away that all others use
    items.sort(key=lambda item: item.path == here / "test_removal.py")


@pytest.fixture(scope="session")
def images() -> Builder:
    """The images, built into the user's cache unless they are there."""
    reason = needs.lacking()
    if reason:
        not_run(f"no pods on this machine: {reason}")
    places = checkout()
    return Builder(places.root, places.cache / "images")


@pytest.fixture(scope="session")
def node(
    kube_binary: Path, images: Builder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningNode]:
    """A cluster with one node, which has the images."""
    loaded = [images.pause(), images.shell(), images.agent()]
    running = RunningNode(tmp_path_factory.mktemp("node"), kube_binary, loaded)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def direct(node: RunningNode, new_kubectl: Path, home: Path) -> Kubectl:
    """kubectl straight to the node's API server."""
    return Kubectl(new_kubectl, node.kubeconfig, home, node.inside())


@pytest.fixture(scope="session")
def outrider(node: RunningNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """Outrider, listening where pods reach it."""
    instance = Instance(tmp_path_factory.mktemp("o"), "--listen", f"{ADDRESS}:0", within=node.inside())
    instance.start()
    yield instance
    assert instance.stop() == 0, instance.command.output


@pytest.fixture(scope="session")
def management(outrider: Instance, direct: Kubectl) -> Kubectl:
    """kubectl for the management cluster, as its administrator, through the front door."""
    return direct.at(outrider.ready["admin_kubeconfig"])


@pytest.fixture(scope="session")
def imported(management: Kubectl, direct: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Imported:
    """The node's cluster, imported as a user does it."""
    return import_cluster(management, direct, "with-pods", tmp_path_factory.mktemp("imported"))


@pytest.fixture(scope="session", params=["new", "old"])
def kubectl(request: pytest.FixtureRequest, imported: Imported, direct: Kubectl, home: Path) -> Kubectl:
    """kubectl, new and old, through Outrider."""
    program = request.getfixturevalue(f"{request.param}_kubectl")
    return Kubectl(program, imported.kubeconfig, home, direct.within)


@pytest.fixture(scope="session")
def modern(imported: Imported, direct: Kubectl) -> Kubectl:
    """The new kubectl alone, through Outrider."""
    return direct.at(imported.kubeconfig)


@pytest.fixture(scope="session")
def shell(direct: Kubectl) -> str:
    """The name of a pod with a shell and tools, in the namespace `default`."""
    direct("apply", "-f", "-", stdin=pod("shell"))
    direct("wait", "--for=condition=Ready", "pod/shell", "--timeout=60s")
    return "shell"


@pytest.fixture
def make_pod(direct: Kubectl) -> Iterator[Callable[..., str]]:
    """Makes pods for one test, and waits until they run; its arguments are those of `pod`."""
    made: list[str] = []

    def make(**options: Any) -> str:
        made.append(f"t-{uuid4().hex[:8]}")
        direct("apply", "-f", "-", stdin=pod(made[-1], **options))
        direct("wait", "--for=condition=Ready", f"pod/{made[-1]}", "--timeout=60s")
        return made[-1]

    yield make
    for name in made:
        direct("delete", "pod", name, "--ignore-not-found", "--wait=false")
