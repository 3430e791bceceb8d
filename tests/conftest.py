"""Fixtures that every test may use. Servers start when the first test asks for them and stop at the end."""

from __future__ import annotations

import tests.support.pure  # noqa: F401  # isort: skip

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import hypothesis
import pytest

from outrider.apis.install import install
from outrider.kube.builtin import NAMESPACES
from outrider.kube.client import Client
from outrider.kube.embedded import ports
from outrider.kube.embedded.binary import BinaryNotFoundError, find_binary
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.transport import HttpTransport
from tests.support import not_run as not_run_plugin
from tests.support.hosted import downstream_plane, management_plane
from tests.support.not_run import not_run
from tools.setup.places import checkout

# How long one example takes says more about the machine than about the code.
hypothesis.settings.register_profile("outrider", deadline=None)
hypothesis.settings.load_profile("outrider")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(not_run_plugin, "not_run")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever needs the binary starts a real control plane."""
    for item in items:
        if "kube_binary" in getattr(item, "fixturenames", ()):
            item.add_marker("kube")


@pytest.fixture(scope="session")
def kube_binary() -> Path:
    """The executable that holds etcd and Kubernetes."""
    try:
        return find_binary()
    except BinaryNotFoundError as error:
        not_run(str(error))


@pytest.fixture(scope="session")
def kubectl() -> Path:
    """A kubectl: the one on the PATH, else the one in the virtual environment."""
    found = shutil.which("kubectl") or shutil.which("kubectl", path=str(Path(sys.executable).parent))
    if not found:
        not_run("kubectl is not installed; run `make setup`")
    return Path(found)


@pytest.fixture(scope="session")
def new_kubectl() -> Path:
    """The newest kubectl, of the virtual environment: it speaks WebSocket."""
    program = Path(sys.executable).with_name("kubectl")
    if not program.exists():
        not_run("the virtual environment has no kubectl; run `make setup`")
    return program


@pytest.fixture(scope="session")
def old_kubectl() -> Path:
    """A kubectl of 2020, from before WebSockets and server-side printing of much: it speaks SPDY."""
    program = checkout().old_kubectl
    if not program.exists():
        not_run("no old kubectl; `make setup` takes it from Debian's package kubernetes-client")
    return program


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home folder of whoever runs kubectl."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def api_server(kube_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCluster]:
    """A real control plane with a management cluster's controllers, shared by the whole session."""
    yield from management_plane(tmp_path_factory, "api-server", kube_binary)


@pytest.fixture(scope="session")
def second_api_server(
    kube_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedCluster]:
    """Another control plane, with the controllers of a downstream cluster."""
    yield from downstream_plane(tmp_path_factory, "second-api-server", kube_binary)


@pytest.fixture(scope="session")
def crds(api_server: EmbeddedCluster) -> None:
    """Our CRDs in ``api_server``."""

    async def once() -> None:
        transport = HttpTransport(api_server.access)
        await install(Client(transport))
        await transport.close()

    asyncio.run(once())


@pytest.fixture
async def admin(api_server: EmbeddedCluster) -> AsyncIterator[Client]:
    """A client of ``api_server`` that may do everything."""
    transport = HttpTransport(api_server.access)
    yield Client(transport)
    await transport.close()


@pytest.fixture
async def second_admin(second_api_server: EmbeddedCluster) -> AsyncIterator[Client]:
    """A client of ``second_api_server`` that may do everything."""
    transport = HttpTransport(second_api_server.access)
    yield Client(transport)
    await transport.close()


@pytest.fixture
async def namespace(admin: Client) -> str:
    """A new namespace of ``api_server``, the test's own. It goes with the server."""
    name = f"test-{uuid4().hex[:12]}"
    await admin.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


@pytest.fixture
def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on."""
    return ports.free_port()
