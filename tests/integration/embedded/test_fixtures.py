"""The shared fixtures give a working cluster."""

from outrider.kube.builtin import CONFIGMAPS, NAMESPACES
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster


async def test_namespace_is_the_tests_own_and_empty(admin: Client, namespace: str) -> None:
    assert (await admin.get(NAMESPACES, namespace))["status"]["phase"] == "Active"
    assert not (await admin.list(CONFIGMAPS, namespace)).items


async def test_the_two_servers_are_different_clusters(
    admin: Client, second_admin: Client, api_server: EmbeddedCluster, second_api_server: EmbeddedCluster
) -> None:
    first = (await admin.get(NAMESPACES, "kube-system"))["metadata"]["uid"]
    second = (await second_admin.get(NAMESPACES, "kube-system"))["metadata"]["uid"]
    assert first != second
    assert not set(api_server.pids.values()) & set(second_api_server.pids.values())
