"""CRDs in the shared API server, and ways to write to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import run
from uuid import uuid4

import pytest

from outrider.kube.embedded.cluster import EmbeddedCluster

Kubectl = Callable[..., str]


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
