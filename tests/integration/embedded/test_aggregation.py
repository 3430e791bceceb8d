"""The API server forwards an aggregated group as a proxy that proves itself, with the user in headers."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from outrider.kit import pki
from outrider.kube.builtin import APISERVICES, SERVICES
from outrider.kube.client import Client
from outrider.kube.embedded import certificates
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.errors import KubeError
from tests.integration.embedded.conftest import Connect
from tests.support.proc import until

GROUP = "ext.example.io"


@asynccontextmanager
async def extension(context: ssl.SSLContext, port: int) -> AsyncIterator[list[dict]]:
    """A server that answers everything with who the proxy says it is, and who the proxy is."""
    seen: list[dict] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        peer = dict(pair for (pair,) in writer.get_extra_info("peercert")["subject"])
        seen.append({"request": head[0], "user": headers.get("x-remote-user"), "proxy": peer["commonName"]})
        body = json.dumps(
            {"kind": "APIResourceList", "apiVersion": "v1", "resources": [], "groupVersion": ""}
        )
        writer.write(
            f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"Connection: close\r\n\r\n{body}".encode()
        )
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port, ssl=context):
        yield seen


async def test_an_extension_behind_an_external_name_gets_the_user_from_a_proven_proxy(
    api_server: EmbeddedCluster,
    admin: Client,
    namespace: str,
    free_port: int,
    tmp_path: Path,
    connect: Connect,
) -> None:
    now = datetime.now(UTC)
    authority = pki.create_authority("extension", now=now)
    served = pki.issue_server(authority, "extension", now=now, dns=["localhost", f"ext.{namespace}.svc"])
    (tmp_path / "served.pem").write_bytes(pki.to_bundle(served))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=api_server.front_proxy_ca.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(tmp_path / "served.pem")
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "ext", "namespace": namespace},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": free_port}]},
    }
    registration = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"v1.{GROUP}"},
        "spec": {
            "group": GROUP,
            "version": "v1",
            "groupPriorityMinimum": 1000,
            "versionPriority": 10,
            "caBundle": base64.b64encode(authority.cert_pem).decode(),
            "service": {"name": "ext", "namespace": namespace, "port": free_port},
        },
    }
    async with extension(context, free_port) as seen:
        await admin.create(SERVICES, service)
        await admin.create(APISERVICES, registration)
        try:
            async with connect(api_server.access_as("jane", ["system:masters"])) as jane:

                async def served_to_jane() -> bool:
                    try:
                        await jane.get_json(f"/apis/{GROUP}/v1/things")
                    except KubeError:
                        return False
                    return True

                await until(served_to_jane)
        finally:
            await admin.delete(APISERVICES, f"v1.{GROUP}")
    asked = [entry for entry in seen if "/things" in entry["request"]]
    assert asked[-1]["user"] == "jane"
    assert asked[-1]["proxy"] == certificates.FRONT_PROXY_USER
