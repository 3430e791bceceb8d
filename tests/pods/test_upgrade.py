"""Another image for the agent: a good one takes over without a gap, a bad one changes nothing but a condition."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from outrider import __version__
from tests.e2e.conftest import until
from tests.support.imported import Imported
from tests.support.kubectl import Kubectl
from tests.support.pods.node import RunningNode
from tests.support.pods.variants import CANNOT_CONNECT, CRASHES, FALLS_OVER, NEWER, NEWER_VERSION, variant
from tools.image.build import Builder

ORIGINAL = f"outrider/outrider-agent:v{__version__}"
PATIENCE = 150.0

# The node and its cluster are made within the time of the first test, on a machine that may be busy
pytestmark = pytest.mark.timeout(420)


class Fleet:
    """The settings, and what the one cluster's record and its pods say."""

    def __init__(self, management: Kubectl, direct: Kubectl, imported: Imported) -> None:
        self._management = management
        self._direct = direct
        self._id = imported.id

    def set(self, name: str, value: str) -> None:
        patch = f'{{"value": "{value}"}}'
        self._management("patch", "settings.management.cattle.io", name, "--type=merge", f"--patch={patch}")

    def setting(self, name: str) -> str:
        return str(self._management.json("get", "settings.management.cattle.io", name)["value"])

    @property
    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self._management.json("get", "clusters.management.cattle.io", self._id)[
            "status"
        ]
        return status

    @property
    def condition(self) -> dict[str, str]:
        found = [one for one in self.status["conditions"] if one["type"] == "AgentUpgraded"]
        return found[0] if found else {"status": ""}

    def pods(self) -> list[dict[str, Any]]:
        listed = self._direct.json(
            "--namespace=cattle-system", "get", "pods", "--selector=app=cattle-cluster-agent"
        )
        return [one for one in listed["items"] if "deletionTimestamp" not in one["metadata"]]

    def state(
        self, pod: dict[str, Any] | None = None, *, other_than: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """The status of the container of this pod, or of the only other one."""
        named = (pod or other_than or {})["metadata"]["name"]
        (found,) = [one for one in self.pods() if (one["metadata"]["name"] == named) is (other_than is None)]
        (state,) = found["status"]["containerStatuses"]
        return dict(state)

    def images(self) -> list[str]:
        return [one["spec"]["containers"][0]["image"] for one in self.pods()]

    def runs(self, image: str) -> bool:
        """Whether the agent with this image, and no other, is there and has told so."""
        applied = self.status.get("appliedState", {})
        return self.images() == [image] and applied.get("agentImage") == image

    def serving(self) -> str:
        """The image that serves, once there is one pod and nothing is under way."""
        eventually(self, lambda: self.runs(self.status["agentImage"]))
        return str(self.status["agentImage"])

    def describe(self) -> str:
        described = self._direct.attempt("--namespace=cattle-system", "describe", "pods").stdout
        logs = self._direct.attempt(
            "--namespace=cattle-system", "logs", "--selector=app=cattle-cluster-agent", "--tail=20"
        ).stdout
        return f"{self.status}\n{self.setting('agent-upgrade-status')}\n{described}\n{logs}"


@pytest.fixture(scope="module")
def fleet(management: Kubectl, direct: Kubectl, imported: Imported) -> Iterator[Fleet]:
    fleet = Fleet(management, direct, imported)
    until(lambda: fleet.runs(ORIGINAL), PATIENCE)
    yield fleet
    fleet.set("agent-image", "")
    fleet.set("agent-rollout-timeout", "")
    eventually(fleet, lambda: fleet.runs(ORIGINAL))


@pytest.fixture(scope="module")
def load(
    images: Builder, node: RunningNode, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, Sequence[str]], str]:
    folder = tmp_path_factory.mktemp("variants")

    def load(tag: str, entrypoint: Sequence[str]) -> str:
        name, image = variant(images.agent(), tag, entrypoint, folder)
        node.load(image)
        image.unlink()
        return name

    return load


@pytest.fixture
def served(modern: Kubectl) -> Iterator[list[str]]:
    """Asks the cluster through Outrider all the time; holds what was not answered."""
    failures: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            done = modern.attempt("get", "namespace", "default", "--output=name")
            if done.returncode:
                failures.append(f"{time.strftime('%X')} {done.stderr.strip()}")
            time.sleep(0.2)

    thread = threading.Thread(target=ask)
    thread.start()
    yield failures
    stop.set()
    thread.join()


def eventually(fleet: Fleet, condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    try:
        until(condition, seconds)
    except TimeoutError as error:
        raise TimeoutError(f"{error}\n{fleet.describe()}") from None


def test_a_newer_agent_takes_over_while_requests_are_served(
    fleet: Fleet, load: Callable[..., str], served: list[str]
) -> None:
    newer = load("newer", NEWER)
    assert fleet.serving() == ORIGINAL
    (before,) = fleet.pods()
    fleet.set("agent-image", newer)
    eventually(fleet, lambda: fleet.condition["status"] == "Unknown")
    eventually(fleet, lambda: fleet.condition["status"] == "True")
    status = fleet.status
    assert status["agentImage"] == status["appliedState"]["agentImage"] == newer
    assert status["appliedState"]["agentVersion"] == NEWER_VERSION
    assert status["agentUpgrade"]["previous"] == ORIGINAL
    assert status["agentUpgrade"]["finishedAt"] >= status["agentUpgrade"]["startedAt"]
    eventually(fleet, lambda: fleet.runs(newer))
    assert before["metadata"]["name"] not in {one["metadata"]["name"] for one in fleet.pods()}
    eventually(fleet, lambda: fleet.setting("agent-upgrade-status") == f"1 of 1 clusters have {newer}")
    assert served == []


@pytest.mark.parametrize(
    ("tag", "entrypoint"),
    [
        ("crashes", CRASHES),
        ("astray", CANNOT_CONNECT),
        pytest.param("falls", FALLS_OVER, marks=pytest.mark.long),
    ],
)
def test_a_bad_image_leaves_the_old_agent_serving(
    fleet: Fleet, load: Callable[..., str], served: list[str], tag: str, entrypoint: Sequence[str]
) -> None:
    serving = fleet.serving()
    (before,) = fleet.pods()
    bad = load(tag, entrypoint)
    fleet.set("agent-rollout-timeout", "40s")
    fleet.set("agent-image", bad)
    eventually(fleet, lambda: fleet.condition["status"] == "False")
    assert fleet.condition["reason"] == "NotConnected"
    assert bad in fleet.condition["message"]
    assert f"the one with {serving} still serves" in fleet.condition["message"]
    eventually(fleet, lambda: fleet.setting("agent-upgrade-status").startswith("stopped: 0 of 1 clusters"))
    new = fleet.state(other_than=before)
    assert new["image"].endswith(bad)
    if tag == "astray":
        eventually(fleet, lambda: "running" in fleet.state(other_than=before)["state"])
        assert not fleet.state(other_than=before)["ready"], "it is up, and has no tunnel"
    else:
        eventually(fleet, lambda: fleet.state(other_than=before)["restartCount"] > 0)
    old = fleet.state(before)
    assert (old["ready"], old["restartCount"]) == (True, 0)
    # Setting the image back takes it away at once, and the pod that served all the time still does
    fleet.set("agent-image", serving)
    eventually(fleet, lambda: fleet.condition["status"] == "True", 30)
    eventually(fleet, lambda: fleet.runs(serving), 60)
    assert [one["metadata"]["name"] for one in fleet.pods()] == [before["metadata"]["name"]]
    # What went through a tunnel that breaks breaks with it, so there is something to hear of the third
    assert len(served) <= (5 if tag == "falls" else 0), served
