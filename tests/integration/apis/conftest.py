"""CRDs in the shared API server, and ways to write to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from subprocess import run
from uuid import uuid4

import pytest

from outrider.apis.install import install
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.transport import HttpTransport

Kubectl = Callable[..., str]


@pytest.fixture(scope="session")
def crds(api_server: EmbeddedCluster) -> None:
    """Our CRDs and policies in ``api_server``."""

    async def once() -> None:
        transport = HttpTransport(api_server.access)
        await install(Client(transport))
        await transport.close()

    asyncio.run(once())


@pytest.fixture
def unique() -> str:
    """A name that no other test uses."""
    return f"c-{uuid4().hex[:10]}"


@pytest.fixture
def run_kubectl(kubectl: Path, api_server: EmbeddedCluster, tmp_path: Path, crds: None) -> Kubectl:
    """Runs kubectl as the administrator; returns its output, fails with its error."""
    kubeconfig = api_server.kubeconfig(tmp_path / "kubeconfig")

    def call(*arguments: str, manifest: str = "") -> str:
        done = run(
            [str(kubectl), f"--kubeconfig={kubeconfig}", f"--cache-dir={tmp_path}/cache", *arguments],
            input=manifest,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call
