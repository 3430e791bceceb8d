"""The door at which a real API server calls us: it finds us, knows us, and proves who it is."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from outrider.facade.api_server import is_api_server
from outrider.kit.clock import SystemClock
from outrider.kube.builtin import (
    APISERVICES,
    CONFIGMAPS,
    NAMESPACES,
    SERVICES,
    VALIDATINGWEBHOOKCONFIGURATIONS,
)
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.embedded.ports import free_port
from outrider.kube.errors import Forbidden, KubeError
from outrider.server.api_door import ApiDoor
from outrider.server.config import ApiDoorConfig
from tests.support.proc import until

GROUP = "ext.example.io"


class Callee:
    """What the door's routes saw."""

    def __init__(self) -> None:
        self.proven: list[bool] = []
        self.users: list[str] = []

    async def refuse(self, request: Request) -> Response:
        self.proven.append(is_api_server(request.scope))
        asked = (await request.json())["request"]
        refusal = {"uid": asked["uid"], "allowed": False, "status": {"code": 403, "message": "not today"}}
        return JSONResponse(
            {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": refusal}
        )

    async def resources(self, request: Request) -> Response:
        if not is_api_server(request.scope):
            return Response(status_code=401)
        self.users.append(request.headers.get("x-remote-user", ""))
        return JSONResponse(
            {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/v1", "resources": []}
        )

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/refuse", self.refuse, methods=["POST"]),
            Route("/apis/{rest:path}", self.resources, methods=["GET"]),
        ]


@pytest.fixture
def callee() -> Callee:
    return Callee()


@pytest.fixture
async def served(admin: Client) -> AsyncIterator[Any]:
    """Opens doors, and closes them at the end."""
    await admin.apply(NAMESPACES, {"metadata": {"name": "cattle-system"}})
    running: list[tuple[ApiDoor, asyncio.Task[None]]] = []

    async def serve(callee: Callee, config: ApiDoorConfig) -> ApiDoor:
        door = ApiDoor(admin, config, callee.routes, SystemClock())
        await door.open()
        running.append((door, asyncio.create_task(door.run())))
        await door.announce()
        return door

    yield serve
    for door, task in running:
        door.close()
        await task


@pytest.fixture
async def door(served: Any, callee: Callee, api_server: EmbeddedCluster) -> ApiDoor:
    """The door that the API server proves itself at."""
    return await served(callee, ApiDoorConfig(port=api_server.callback_port, proven=True))


async def test_an_admission_webhook_is_asked_by_a_proven_api_server(
    admin: Client, door: ApiDoor, callee: Callee, namespace: str
) -> None:
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["configmaps"],
        "operations": ["CREATE"],
    }
    hook = {
        "name": "refuse.example.io",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "clientConfig": {
            "caBundle": base64.b64encode(door.ca.encode()).decode(),
            "service": {**door.target.to_json(), "path": "/refuse"},
        },
    }
    await admin.create(VALIDATINGWEBHOOKCONFIGURATIONS, {"metadata": {"name": "refuse"}, "webhooks": [hook]})
    try:

        async def refused() -> bool:
            try:
                await admin.create(CONFIGMAPS, {"metadata": {"generateName": "x-", "namespace": namespace}})
            except Forbidden as error:
                return "not today" in str(error)
            return False

        await until(refused)
    finally:
        await admin.delete(VALIDATINGWEBHOOKCONFIGURATIONS, "refuse")
    assert set(callee.proven) == {True}


async def test_the_aggregated_api_is_asked_in_the_name_of_the_user(
    admin: Client, door: ApiDoor, callee: Callee
) -> None:
    spec = {
        "group": GROUP,
        "version": "v1",
        "groupPriorityMinimum": 1000,
        "versionPriority": 10,
        "caBundle": base64.b64encode(door.ca.encode()).decode(),
        "service": door.target.to_json(),
    }
    await admin.create(APISERVICES, {"metadata": {"name": f"v1.{GROUP}"}, "spec": spec})
    try:

        async def answered() -> bool:
            try:
                await admin.get_json(f"/apis/{GROUP}/v1/things")
            except KubeError:
                return False
            return True

        await until(answered)
    finally:
        await admin.delete(APISERVICES, f"v1.{GROUP}")
    assert "outrider-supervisor" in callee.users


async def knock(door: ApiDoor, port: int, context: ssl.SSLContext, request: bytes) -> bytes:
    """What the door answers; nothing where it ends the connection."""
    try:
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, server_hostname=door.target.host
            )
            writer.write(request)
            answer = await reader.read(65536)
            writer.close()
            return answer
    except (ssl.SSLError, ConnectionError):
        return b""


def trusting(door: ApiDoor) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=door.ca)


async def test_a_door_for_the_proven_hears_nobody_else(
    door: ApiDoor, callee: Callee, api_server: EmbeddedCluster, tmp_path: Any
) -> None:
    ask = b"GET /apis/x HTTP/1.1\r\nHost: x\r\nX-Remote-User: admin\r\n\r\n"
    assert await knock(door, api_server.callback_port, trusting(door), ask) == b""
    # An ordinary client of the cluster is not its API server
    other = api_server.issue_client("outrider-aggregator", ["system:masters"])
    (tmp_path / "other.pem").write_bytes(other.cert_pem + other.key_pem)
    context = trusting(door)
    context.load_cert_chain(tmp_path / "other.pem")
    assert await knock(door, api_server.callback_port, context, ask) == b""
    assert callee.users == []


async def test_without_a_certificate_nobody_is_taken_for_the_api_server(served: Any, callee: Callee) -> None:
    port = free_port()
    door = await served(callee, ApiDoorConfig(port=port))
    ask = b"GET /apis/x HTTP/1.1\r\nHost: x\r\nX-Remote-User: admin\r\nConnection: close\r\n\r\n"
    assert (await knock(door, port, trusting(door), ask)).startswith(b"HTTP/1.1 401")
    assert callee.users == []


async def test_a_body_that_is_too_large_is_refused_unread(served: Any, callee: Callee) -> None:
    port = free_port()
    door = await served(callee, ApiDoorConfig(port=port))
    ask = b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 90000000\r\nConnection: close\r\n\r\n"
    assert (await knock(door, port, trusting(door), ask)).startswith(b"HTTP/1.1 413")
    assert callee.proven == []


async def test_the_door_is_announced_once_and_again_where_it_moved(
    admin: Client, served: Any, callee: Callee
) -> None:
    door = await served(callee, ApiDoorConfig(port=free_port()))
    first = await admin.get(SERVICES, door.target.name, door.target.namespace)
    await door.announce()
    again = await admin.get(SERVICES, door.target.name, door.target.namespace)
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    moved = await served(callee, ApiDoorConfig(port=free_port()))
    now = await admin.get(SERVICES, door.target.name, door.target.namespace)
    assert [port["port"] for port in now["spec"]["ports"]] == [moved.target.port]
