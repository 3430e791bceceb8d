"""What the server answers is what its OpenAPI document says, for whatever clients send (schemathesis).

On an API server of its own: much of what is sent is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlencode

import hypothesis
import msgspec
import pytest
import requests
import schemathesis
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.applications import Starlette

from outrider.apis.install import install
from outrider.apis.views.view import Context
from outrider.facade import openapi
from outrider.facade.v3.registry import Registry
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.transport import HttpTransport
from outrider.link.messages import Claim
from tests.integration.views.conftest import HOST, Person, Plane, running
from tests.support.asgi import Answer, call

# the server, in another thread, spreads its waits by chance
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")

CHECKS = [
    schemathesis.checks.not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]
Ask = Callable[[schemathesis.Case], Answer]


@pytest.fixture
async def plane(kube_binary: Any, tmp_path: Any) -> AsyncIterator[Plane]:
    """The running server, with a management cluster of its own."""
    cluster = EmbeddedCluster(tmp_path / "own", durable=False, name="openapi", binary=kube_binary)
    await cluster.start()
    transport = HttpTransport(cluster.access)
    try:
        client = Client(transport)
        await install(client)
        async with running(client) as started:
            yield started
    finally:
        await transport.close()
        await cluster.stop()


@pytest.fixture
async def administrator(plane: Plane) -> Person:
    """Somebody who may do everything."""
    return await plane.administrator()


def document(plane: Plane) -> Any:
    return openapi.document(Registry(plane.views), "v2.13.0")


def asker(plane: Plane, person: Person | None) -> Ask:
    """Sends a case from another thread than the server's."""
    loop = asyncio.get_running_loop()
    identity = person.identity if person is not None else None
    claim = Claim(identity=identity, user=identity.user if identity else "", host=HOST, remote="192.0.2.1")

    def ask(case: schemathesis.Case) -> Answer:
        query = urlencode(case.query or {}, doseq=True)
        target = case.formatted_path + (f"?{query}" if query else "")
        body = None if type(case.body).__name__ == "NotSet" else msgspec.json.encode(case.body)
        running_call = call(plane.app, case.method.upper(), target, body, claim=claim)
        return asyncio.run_coroutine_threadsafe(running_call, loop).result(60)

    return ask


def check(operation: schemathesis.APIOperation, ask: Ask, examples: int) -> None:
    """Asks for one operation what comes to mind."""

    @hypothesis.settings(
        max_examples=examples,
        database=None,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy())
    def one(case: schemathesis.Case) -> None:
        answered = ask(case)
        named: dict[str, list[str]] = {}
        for name, value in answered.raw_headers:
            named.setdefault(name, []).append(value)
        asked = requests.Request(case.method.upper(), f"https://{HOST}{case.formatted_path}").prepare()
        response = Response(answered.status, named, answered.body, asked, 0.1, verify=True)
        case.validate_response(response, checks=CHECKS)

    one()


async def every(plane: Plane, person: Person | None, examples: int) -> int:
    schema = schemathesis.openapi.from_dict(document(plane))
    operations = [found.ok() for found in schema.get_all_operations()]
    ask = asker(plane, person)
    for operation in operations:
        await asyncio.to_thread(check, operation, ask, examples)
    return len(operations)


async def test_an_administrator_is_answered_as_described(plane: Plane, administrator: Person) -> None:
    assert await every(plane, administrator, 3) > 50


async def test_strangers_are_answered_as_described(plane: Plane) -> None:
    assert await every(plane, None, 2) > 50


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_much_is_asked(plane: Plane, administrator: Person) -> None:
    assert await every(plane, administrator, 60) > 50


async def test_the_document_names_every_view(plane: Plane) -> None:
    described = document(plane)
    for view in plane.views:
        root = {
            Context.MANAGEMENT: "/v3",
            Context.CLUSTER: "/v3/cluster/{root}",
            Context.PROJECT: "/v3/project/{root}",
        }
        paths = [
            path for path in described["paths"] if path.startswith(f"{root[view.context]}/{view.plural}")
        ]
        assert paths, view.plural
    served = await call(
        Starlette(routes=[openapi.openapi_route(Registry(plane.views), "v2.13.0")]), "GET", openapi.PATH
    )
    assert served.json() == described
