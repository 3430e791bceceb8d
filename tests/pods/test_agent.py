"""The agent as a pod, made by the imported manifest."""

from __future__ import annotations

import pytest

from outrider import __version__
from tests.support.imported import Imported
from tests.support.kubectl import Kubectl
from tests.support.not_run import not_run
from tools.image import packages

AGENT = ("--namespace=cattle-system", "exec", "deployment/cattle-cluster-agent", "--")


def test_the_cluster_becomes_active(imported: Imported, management: Kubectl) -> None:
    cluster = management.json("get", "clusters.management.cattle.io", imported.id)
    assert cluster["status"]["connected"] is True
    # What it takes is measured by tests/bench/import.py; this only finds a restart or a time-out on the way.
    assert imported.seconds < 60


def test_the_pod_has_not_been_restarted(imported: Imported, direct: Kubectl) -> None:
    direct(
        "--namespace=cattle-system",
        "wait",
        "--for=condition=Ready",
        "pods",
        "--selector=app=cattle-cluster-agent",
    )
    pods = direct.json("--namespace=cattle-system", "get", "pods", "--selector=app=cattle-cluster-agent")
    (agent,) = [one for one in pods["items"] if "deletionTimestamp" not in one["metadata"]]
    (container,) = agent["status"]["containerStatuses"]
    assert (container["ready"], container["restartCount"]) == (True, 0)
    assert container["image"] == f"docker.io/outrider/outrider-agent:v{__version__}"


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("import os; print(os.getuid(), 65532 in os.getgroups())", "65532 True"),
        ("print(len(open('/cattle-credentials/token').read()))", "54"),
        ("import os; print(oct(os.stat('/cattle-credentials/token').st_mode & 0o007))", "0o0"),
        ("import os; print(os.access('/agent', os.W_OK), os.access('/', os.W_OK))", "False False"),
        ("import outrider.agent.program as p; print(bool(p.__cached__))", "True"),
    ],
)
def test_it_runs_without_rights_and_reads_its_credentials(
    imported: Imported, direct: Kubectl, code: str, result: str
) -> None:
    assert direct(*AGENT, "/agent/bin/python", "-c", code).strip() == result


def test_its_data_path_is_compiled(imported: Imported, direct: Kubectl) -> None:
    if not packages.compiled_key():
        not_run("no compiled data path fits these sources here; `make setup` provides it")
    code = "import outrider.tunnel.agent as a; print(a.__file__)"
    assert "/outrider_compiled/" in direct(*AGENT, "/agent/bin/python", "-c", code)


def test_nodes_show_with_their_state_and_images(imported: Imported, management: Kubectl) -> None:
    (node,) = management.json("--namespace", imported.id, "get", "nodes.management.cattle.io")["items"]
    status = node["status"]
    assert status["nodeName"] == "node-1"
    inner = status["internalNodeStatus"]
    assert {one["type"]: one["status"] for one in inner["conditions"]}["Ready"] == "True"
    images = {name for image in inner["images"] for name in image["names"]}
    assert f"docker.io/outrider/outrider-agent:v{__version__}" in images
    assert inner["nodeInfo"]["kubeletVersion"].startswith("v1.34")
    assert inner["capacity"]["pods"] == "60"
    table = management("--namespace", imported.id, "get", "nodes.management.cattle.io")
    assert table.splitlines()[1].split()[1:3] == ["node-1", "True"]


def test_the_cluster_counts_its_node(imported: Imported, management: Kubectl) -> None:
    cluster = management.json("get", "clusters.management.cattle.io", imported.id)
    assert cluster["status"]["nodeCount"] == 1
    assert cluster["status"]["capacity"]["pods"] == "60"
