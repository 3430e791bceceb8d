"""One folder holds a cluster: found again, held by one, closed to others."""

from __future__ import annotations

import socket
import ssl
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from outrider.kit import pki
from outrider.kube.builtin import CONFIGMAPS, NAMESPACES
from outrider.kube.embedded.layout import DataFolderInUseError
from outrider.kube.embedded.process import ProcessFailedError
from tests.integration.embedded.conftest import Connect, MakeCluster
from tests.support.clock import FakeClock
from tests.support.proc import command_line_and_environment, listening, until

CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept", "namespace": "default"}}


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


async def test_a_restart_finds_everything_and_a_taken_port_is_replaced(
    make_cluster: MakeCluster, connect: Connect
) -> None:
    async with make_cluster().running() as cluster, connect(cluster.access) as client:
        first, credential = cluster.server, cluster.access.client_cert_pem
        await client.create(CONFIGMAPS, CONFIG_MAP)
    assert cluster.pids == {}
    async with make_cluster().running() as cluster, connect(cluster.access) as client:
        assert (cluster.server, cluster.access.client_cert_pem) == (first, credential)
        await client.get(CONFIGMAPS, "kept", "default")
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", port_of(first)))
        thief.listen()
        async with make_cluster().running() as cluster, connect(cluster.access) as client:
            assert cluster.server != first
            await client.get(CONFIGMAPS, "kept", "default")


async def test_what_others_can_see_of_a_running_cluster(make_cluster: MakeCluster, tmp_path: Path) -> None:
    """Permissions, listeners and command lines: no secret, no door."""
    async with make_cluster(durable=True).running() as cluster:
        with pytest.raises(DataFolderInUseError, match="is in use by another Outrider"):
            await make_cluster().start()
        data = tmp_path / "data"
        for path in (data, *data.rglob("*")):
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode & 0o077 == 0 or (path.is_file() and path.parent.stat().st_mode & 0o077 == 0), path
            if path.is_dir():
                assert mode == 0o700, path
            if path.suffix in (".pem", ".kubeconfig"):
                assert mode == 0o600, path
        secrets = [
            line
            for path in data.glob("pki/*.pem")
            for line in path.read_bytes().splitlines()
            if line and not line.startswith(b"-----")
        ]
        ports = {}
        for role, pid in cluster.pids.items():
            ports[role] = listening(pid)
            shown = command_line_and_environment(pid)
            assert not any(secret in shown for secret in secrets), role
            assert b"--token" not in shown
        assert {host for found in ports.values() for host, _ in found} == {"127.0.0.1"}
        assert ports["apiserver"] == {("127.0.0.1", port_of(cluster.server))}
        assert len(ports["etcd"]) == 2
        assert ports["controller-manager"] == set()
        assert (data / "etcd").stat().st_uid == data.stat().st_uid


async def test_certificates_are_renewed_under_a_running_cluster(
    make_cluster: MakeCluster, connect: Connect
) -> None:
    """The servers take up the new files by themselves, and the old credentials still work."""
    clock = FakeClock(datetime.now(UTC) - timedelta(days=250))
    async with make_cluster(clock=clock).running() as cluster:
        old, port = cluster.access, port_of(cluster.server)
        served = ssl_certificate(port)
        assert cluster.renew_certificates() == []
        await clock.advance(250 * 86400)
        # The cluster's own timer has renewed them by now.
        assert cluster.access.client_cert_pem != old.client_cert_pem
        assert cluster.renew_certificates() == []
        await until(lambda: ssl_certificate(port) != served, 70)
        assert not pki.near_expiry(ssl_certificate(port), now=clock.now())
        for access in (old, cluster.access):
            async with connect(access) as client:
                await client.get(NAMESPACES, "default")


async def test_a_failing_start_leaves_nothing_behind(
    make_cluster: MakeCluster, connect: Connect, tmp_path: Path
) -> None:
    script = tmp_path / "outrider-kube"
    script.write_text('#!/bin/sh\necho "$1: no such flag" >&2\nexit 1\n')
    script.chmod(0o755)
    with pytest.raises(ProcessFailedError, match="no such flag"):
        await make_cluster(binary=script).start()
    assert not list((tmp_path / "data" / "run").iterdir())
    async with make_cluster().running() as cluster, connect(cluster.access) as client:
        await client.get(NAMESPACES, "default")


async def test_the_written_kubeconfig_works_with_kubectl(
    make_cluster: MakeCluster, kubectl: Path, tmp_path: Path
) -> None:
    async with make_cluster(name='odd: "name"').running() as cluster:
        path = cluster.kubeconfig(tmp_path / "admin.kubeconfig")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        command = [kubectl, "--kubeconfig", path, "auth", "can-i", "*", "*", "-A"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert answer.stdout.strip() == "yes", answer.stderr


def ssl_certificate(port: int) -> bytes:
    """What the server presents now."""
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=5).encode()
