"""The feature on a real management cluster and a real other one, with a stand-in for the hand-over between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from outrider.apis.install import install
from outrider.apis.management import CLUSTERS
from outrider.delivery.ledger import LABEL, NAMESPACE
from outrider.delivery.presence import MANAGER
from outrider.features.rbac.builtin import install_builtin_roles
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.builtin import NAMESPACES, SECRETS
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.transport import HttpTransport
from tests.support.hosted import downstream_plane, management_plane
from tests.support.roles import Site, until


async def _forget(client: Client) -> None:
    await client.apply(NAMESPACES, {"metadata": {"name": NAMESPACE}})
    for secret in (await client.list(SECRETS, NAMESPACE, labels=f"{LABEL}=true")).items:
        await client.delete_if_exists(SECRETS, secret["metadata"]["name"], NAMESPACE)


@pytest.fixture
async def site(api_server: EmbeddedCluster, second_api_server: EmbeddedCluster) -> AsyncIterator[Site]:
    """Runs it; the records `local` and `c` are there."""
    transports = [HttpTransport(one.access, max_connections=16) for one in (api_server, second_api_server)]
    here, there = (Client(one) for one in transports)
    await install(here)
    await install_builtin_roles(here)
    appliers = {
        name: Client(one, field_manager=MANAGER, max_retries=2)
        for name, one in zip(("local", "other"), transports, strict=True)
    }
    for client in appliers.values():
        await _forget(client)
    running = Site(here, there, appliers)
    await running.record("local")
    await running.record(running.c)
    task = asyncio.create_task(running.run())
    await until(lambda: len(running.written) >= 2)
    yield running
    await cancel_and_wait(task)
    await here.delete_if_exists(CLUSTERS, running.c)
    for transport in transports:
        await transport.close()


# Servers of their own: what other tests leave in the shared ones counts here, or is acted upon.


@pytest.fixture(scope="session")
def api_server(kube_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCluster]:
    """A management cluster's control plane."""
    yield from management_plane(tmp_path_factory, "rbac-management", kube_binary)


@pytest.fixture(scope="session")
def second_api_server(
    kube_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedCluster]:
    """A downstream cluster's."""
    yield from downstream_plane(tmp_path_factory, "rbac-downstream", kube_binary)
