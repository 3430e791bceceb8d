"""What an embedded cluster serves, and to whom."""

from __future__ import annotations

import asyncio
import base64
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from outrider.kube.builtin import CONFIGMAPS, NAMESPACES, SECRETS, SERVICEACCOUNTS
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.errors import Forbidden, KubeError, NotFound, Unauthorized
from outrider.kube.kubeconfig import ClusterAccess
from tests.integration.embedded.conftest import Connect
from tests.support.proc import listening, until


def with_token(cluster: EmbeddedCluster, token: str) -> ClusterAccess:
    return ClusterAccess(server=cluster.server, ca_pem=cluster.access.ca_pem, token=token)


async def who_am_i(client: Client) -> str:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = await client.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    return str(answer["status"]["userInfo"]["username"])


async def found(client: Client, kind, name: str, namespace: str) -> bool:
    try:
        await client.get(kind, name, namespace)
    except NotFound:
        return False
    return True


@pytest.fixture
async def account(second_admin: Client) -> tuple[str, str]:
    namespace = await second_admin.create(
        NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "accounts-"}}
    )
    name = namespace["metadata"]["name"]
    await second_admin.create(
        SERVICEACCOUNTS,
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "worker", "namespace": name}},
    )
    return name, "worker"


async def test_nobody_without_a_credential(api_server: EmbeddedCluster, connect: Connect) -> None:
    nobody = replace(api_server.access, client_cert_pem=b"", client_key_pem=b"")
    async with connect(nobody) as client:
        for path in ("/readyz", "/version", "/api/v1/namespaces"):
            with pytest.raises(Unauthorized):
                await client.get_json(path)


async def test_a_certificate_of_another_cluster_is_nobody(
    api_server: EmbeddedCluster, second_api_server: EmbeddedCluster, connect: Connect
) -> None:
    other = second_api_server.issue_client("eve", ["system:masters"])
    stranger = replace(api_server.access, client_cert_pem=other.cert_pem, client_key_pem=other.key_pem)
    async with connect(stranger) as client:
        with pytest.raises(KubeError):
            await client.get(NAMESPACES, "default")


async def test_an_issued_user_is_known_and_may_do_nothing(
    api_server: EmbeddedCluster, connect: Connect
) -> None:
    async with connect(api_server.access_as("jane", ["developers"])) as client:
        assert await who_am_i(client) == "jane"
        with pytest.raises(Forbidden, match="jane"):
            await client.get(NAMESPACES, "default")


async def test_requested_tokens_work(
    second_api_server: EmbeddedCluster, second_admin: Client, account: tuple[str, str], connect: Connect
) -> None:
    namespace, name = account
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 600},
    }
    answer = await second_admin.create_subresource(SERVICEACCOUNTS, name, namespace, "token", request)
    async with connect(with_token(second_api_server, answer["status"]["token"])) as client:
        assert await who_am_i(client) == f"system:serviceaccount:{namespace}:{name}"


async def test_tokens_in_secrets_work_and_carry_the_authority(
    second_api_server: EmbeddedCluster, second_admin: Client, account: tuple[str, str], connect: Connect
) -> None:
    namespace, name = account
    metadata = {
        "name": "worker-token",
        "namespace": namespace,
        "annotations": {"kubernetes.io/service-account.name": name},
    }
    await second_admin.create(
        SECRETS,
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "type": "kubernetes.io/service-account-token",
        },
    )

    async def filled() -> bool:
        return "token" in (await second_admin.get(SECRETS, "worker-token", namespace)).get("data", {})

    await until(filled)
    data = (await second_admin.get(SECRETS, "worker-token", namespace))["data"]
    assert base64.b64decode(data["ca.crt"]) == second_api_server.access.ca_pem
    async with connect(with_token(second_api_server, base64.b64decode(data["token"]).decode())) as client:
        assert await who_am_i(client) == f"system:serviceaccount:{namespace}:{name}"


async def test_the_authority_is_published_in_every_namespace(
    second_api_server: EmbeddedCluster, second_admin: Client, account: tuple[str, str]
) -> None:
    namespace, _ = account
    await until(lambda: found(second_admin, CONFIGMAPS, "kube-root-ca.crt", namespace))
    published = await second_admin.get(CONFIGMAPS, "kube-root-ca.crt", namespace)
    assert published["data"]["ca.crt"].encode() == second_api_server.access.ca_pem


async def test_controllers_delete_namespaces_and_garbage(admin: Client, namespace: str) -> None:
    def config_map(name: str, owners: list) -> dict:
        metadata = {"name": name, "namespace": namespace, "ownerReferences": owners}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}

    owner = await admin.create(CONFIGMAPS, config_map("owner", []))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    await admin.create(CONFIGMAPS, config_map("owned", [reference]))
    await admin.delete(CONFIGMAPS, "owner", namespace)

    async def gone() -> bool:
        return not await found(admin, CONFIGMAPS, "owned", namespace)

    await until(gone)
    await admin.delete(NAMESPACES, namespace)

    async def namespace_gone() -> bool:
        return not await found(admin, NAMESPACES, namespace, "")

    await until(namespace_gone)


async def test_etcd_talks_to_nobody_without_its_certificate(
    api_server: EmbeddedCluster, tmp_path: Path
) -> None:
    """Also not to a certificate of the cluster's own clients."""
    admin = tmp_path / "admin.pem"
    admin.write_bytes(api_server.access.client_cert_pem + api_server.access.client_key_pem)
    for bundle in (None, admin):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if bundle:
            context.load_cert_chain(bundle)
        for host, port in listening(api_server.pids["etcd"]):
            assert await _answer(host, port, context) == b""


async def _answer(host: str, port: int, context: ssl.SSLContext) -> bytes:
    """What a request for the version gets; "" when the server hangs up."""
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
    except OSError:
        return b""
    try:
        writer.write(b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return await asyncio.wait_for(reader.read(100), 5)
    except OSError:
        return b""
    finally:
        writer.transport.abort()
