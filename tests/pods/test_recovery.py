"""What happens when one end of a stream goes away: the agent's pod, or the client."""

from __future__ import annotations

import os
from contextlib import ExitStack

from tests.e2e.conftest import until
from tests.support.imported import Imported
from tests.support.instance import Instance
from tests.support.kubectl import Kubectl

SHELLS = 8
IN_SYSTEM = ("--namespace=cattle-system",)
AGENT = "deployment/cattle-cluster-agent"
OF_AGENT = ("--selector=app=cattle-cluster-agent",)


def agents(direct: Kubectl) -> set[str]:
    return set(direct(*IN_SYSTEM, "get", "pods", *OF_AGENT, "--output=name").split())


def test_a_deleted_agent_comes_back(
    modern: Kubectl, management: Kubectl, direct: Kubectl, imported: Imported, shell: str
) -> None:
    """Streams through it end, rather than hang; requests are refused at once, and served again by the next pod."""
    before = agents(direct)
    with modern.background("exec", shell, "--", "sh", "-c", "echo started; sleep 1000") as running:
        running.line("started")
        direct(*IN_SYSTEM, "delete", "pods", *OF_AGENT, "--wait=false")
        assert running.ended(40) != 0
    until(lambda: modern.attempt("get", "--raw", "/version").returncode == 0, 60)
    until(lambda: not agents(direct) & before, 60)
    (condition,) = [
        one
        for one in management.json("get", "clusters.management.cattle.io", imported.id)["status"][
            "conditions"
        ]
        if one["type"] == "Connected"
    ]
    assert condition["status"] == "True"


def test_shells_whose_clients_vanish_are_let_go(
    kubectl: Kubectl, outrider: Instance, direct: Kubectl, shell: str
) -> None:
    """No connection stays open on either side of the tunnel.

    As many shells that end by themselves come first: the agent keeps what they leave idle for a minute, so that it
    has more connections before than after. To the last descriptor this is counted on the data path alone
    (tests/integration/datapath/test_vanishing.py).
    """

    def descriptors() -> tuple[int, int]:
        counting = "import os; print(len(os.listdir('/proc/1/fd')))"
        agent = direct(*IN_SYSTEM, "exec", AGENT, "--", "/agent/bin/python", "-c", counting)
        return len(os.listdir(f"/proc/{outrider.pid('gateway')}/fd")), int(agent)

    def shells(stack: ExitStack, then: str) -> None:
        command = ("exec", shell, "--", "sh", "-c")
        started = [
            stack.enter_context(kubectl.background(*command, f"echo started {number}; {then}"))
            for number in range(SHELLS)
        ]
        for number, one in enumerate(started):
            one.line(f"started {number}")
            if then == "exit":
                assert one.ended(30) == 0

    with ExitStack() as stack:
        shells(stack, "exit")
    before = descriptors()
    with ExitStack() as stack:
        shells(stack, "sleep 1000")
        assert descriptors()[0] >= before[0] + SHELLS
    # Two for whatever else goes on there at that moment.
    until(lambda: all(now <= then + 2 for now, then in zip(descriptors(), before, strict=True)), 60)
