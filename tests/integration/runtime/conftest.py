"""A control plane that the tests here may hurt."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.transport import HttpTransport
from tests.support.hosted import hosted


@pytest.fixture(scope="module")
def fragile_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of the fragile cluster."""
    return tmp_path_factory.mktemp("fragile")


@pytest.fixture(scope="module")
def fragile_api_server(kube_binary: Path, fragile_folder: Path) -> Iterator[EmbeddedCluster]:
    """etcd and an API server that restarts when it is killed; no controllers."""
    cluster = EmbeddedCluster(
        fragile_folder, durable=False, controllers=(), name="fragile", binary=kube_binary
    )
    with hosted(cluster) as running:
        yield running


@pytest.fixture
async def fragile(fragile_api_server: EmbeddedCluster) -> AsyncIterator[Client]:
    """A client of it that may do everything."""
    transport = HttpTransport(fragile_api_server.access)
    yield Client(transport)
    await transport.close()
