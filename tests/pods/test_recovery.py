"""What people see when the agent's pod is replaced under them."""

from __future__ import annotations

from tests.e2e.conftest import until
from tests.support.imported import Imported
from tests.support.kubectl import Kubectl

IN_SYSTEM = ("--namespace=cattle-system",)
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
