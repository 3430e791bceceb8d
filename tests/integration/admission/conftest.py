"""A management cluster whose API server proves itself to the webhooks of the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.embedded.commands import MANAGEMENT_CONTROLLERS
from outrider.server import api_door
from tests.support.hosted import drop_state, hosted


@pytest.fixture(scope="session")
def api_server(kube_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCluster]:
    """A control plane of its own: its webhooks would hold for the tests of others."""
    folder = tmp_path_factory.mktemp("admission-management")
    with hosted(
        EmbeddedCluster(
            folder,
            durable=False,
            controllers=MANAGEMENT_CONTROLLERS,
            name="tests",
            binary=kube_binary,
            callee=api_door.HOST,
        )
    ) as cluster:
        yield cluster
    drop_state(folder)
