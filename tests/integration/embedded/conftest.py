"""Clusters for the tests that break them: each test makes its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.kubeconfig import ClusterAccess
from outrider.kube.transport import HttpTransport
from tests.support.hosted import drop_state

MakeCluster = Callable[..., EmbeddedCluster]
Connect = Callable[[ClusterAccess], AbstractAsyncContextManager[Client]]


@pytest.fixture
def make_cluster(kube_binary: Path, tmp_path: Path) -> Iterator[MakeCluster]:
    """Makes clusters on one data folder."""

    def make(**options: object) -> EmbeddedCluster:
        settings: dict = {"durable": False, "name": "broken", "binary": kube_binary} | options
        return EmbeddedCluster(tmp_path / "data", **settings)

    yield make
    drop_state(tmp_path / "data")


@pytest.fixture
def connect() -> Connect:
    """A client for the length of a block."""

    @asynccontextmanager
    async def open_client(access: ClusterAccess) -> AsyncIterator[Client]:
        transport = HttpTransport(access)
        try:
            yield Client(transport)
        finally:
            await transport.close()

    return open_client
