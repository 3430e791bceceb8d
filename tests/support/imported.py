"""Imports a cluster the way a user does: a Cluster object, its registration's command, the agent's pod."""

from __future__ import annotations

import base64
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.kubectl import Kubectl, KubectlFailed

PATIENCE = 120.0


@dataclass(frozen=True)
class Imported:
    """An imported cluster: its id, a kubeconfig through Outrider, seconds from `kubectl apply` to Active."""

    id: str
    kubeconfig: Path
    seconds: float


def import_cluster(management: Kubectl, direct: Kubectl, name: str, folder: Path) -> Imported:
    """Imports the cluster behind `direct` and waits until it is active. TimeoutError when it does not become so."""
    identifier = _created(management, name)
    command = _command(management, identifier)
    began = time.monotonic()
    done = subprocess.run(
        [*direct.within, "sh", "-c", command],
        env=direct.environment() | {"KUBECONFIG": str(direct.config)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode:
        raise KubectlFailed(f"{command}:\n{done.stdout}{done.stderr}")
    _until_active(management, identifier, direct)
    seconds = time.monotonic() - began
    return Imported(identifier, _kubeconfig(management, identifier, folder), seconds)


def _created(management: Kubectl, name: str) -> str:
    draft = f"""
apiVersion: management.cattle.io/v3
kind: Cluster
metadata: {{generateName: c-}}
spec: {{displayName: {name}, importedConfig: {{}}}}
"""
    made: str = management.json("create", "-f", "-", stdin=draft)["metadata"]["name"]
    return made


def _command(management: Kubectl, identifier: str) -> str:
    """What a user is told to run; curl fetches the manifest without knowing the server's CA."""
    registration = _first_line(
        management,
        ("get", "clusterregistrationtokens.management.cattle.io", "--namespace", identifier),
        "{.items[0].metadata.name} {.items[0].status.insecureCommand}",
    )
    name, _, command = registration.partition(" ")
    secret = ("get", "secret", f"crt-token-{name}", "--namespace", identifier)
    token = base64.b64decode(_first_line(management, secret, "{.data.token}")).decode()
    return command.replace("{token}", token)


def _first_line(management: Kubectl, query: tuple[str, ...], wanted: str) -> str:
    deadline = time.monotonic() + PATIENCE
    while True:
        done = management.attempt(*query, f"--output=jsonpath={wanted}")
        found = done.stdout.strip()
        if done.returncode == 0 and found and len(found.split()) >= len(wanted.split()):
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"{' '.join(query)}: {done.stdout}{done.stderr}")
        time.sleep(0.1)


def _until_active(management: Kubectl, identifier: str, direct: Kubectl) -> None:
    wanted = ("--for=jsonpath={.status.state}=active", f"--timeout={PATIENCE:.0f}s")
    done = management.attempt(
        "wait", *wanted, f"clusters.management.cattle.io/{identifier}", seconds=PATIENCE + 10
    )
    if done.returncode:
        cluster = management("get", "clusters.management.cattle.io", identifier, "--output=yaml")
        pods = direct.attempt("--namespace=cattle-system", "describe", "pods").stdout
        logs = direct.attempt(
            "--namespace=cattle-system", "logs", "--selector=app=cattle-cluster-agent"
        ).stdout
        raise TimeoutError(f"{identifier} is not active:\n{cluster}\n{pods}\n{logs}")


def _kubeconfig(management: Kubectl, identifier: str, folder: Path) -> Path:
    text = management.config.read_text()
    assert "/k8s/clusters/local" in text
    path = folder / "through.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(text.replace("/k8s/clusters/local", f"/k8s/clusters/{identifier}"))
    return path
