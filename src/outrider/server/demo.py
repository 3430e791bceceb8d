"""A demo cluster: a real control plane, imported the way a user does it, with its agent as a process.

The path is the user's: a Cluster object through the front door → its registration token → the manifest from the
import URL → `kubectl apply` → the agent, started from the settings in that manifest. What a kubelet would do
for the agent's pod (environment, mounted Secret, service-account token) is done here.
"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from outrider.apis.management.cluster import CLUSTERS
from outrider.apis.management.registration_token import REGISTRATION_TOKENS
from outrider.kube import kubeconfig
from outrider.kube.builtin import CONFIGMAPS, DEPLOYMENTS, SECRETS, SERVICEACCOUNTS
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.embedded.commands import DOWNSTREAM_CONTROLLERS, Command
from outrider.kube.embedded.process import Policy, SupervisedProcess
from outrider.kube.errors import KubeError, NotFound
from outrider.kube.transport import HttpTransport
from outrider.server.entry import Entry
from outrider.server.replica import environment

NAMESPACE = "cattle-system"
DEPLOYMENT = "cattle-cluster-agent"
PATIENCE = 90.0
LOOK = 0.1
TOKEN_LIFE = timedelta(hours=24)


class DemoError(Exception):
    """A demo cluster could not be imported; the text says at which step."""


class DemoCluster:
    """One of the demo's clusters; `number` counts from 1."""

    def __init__(self, data: Path, number: int) -> None:
        self.name = f"demo-{number}"
        self._folder = data / "clusters" / self.name
        self._cluster = EmbeddedCluster(
            self._folder / "kube", durable=False, controllers=DOWNSTREAM_CONTROLLERS, name=self.name
        )
        self._agent: SupervisedProcess | None = None
        self._renewal: asyncio.Task[None] | None = None

    @property
    def pids(self) -> dict[str, int]:
        """The running processes by role."""
        pids = {f"{self.name}-{role}": pid for role, pid in self._cluster.pids.items()}
        if self._agent is not None and self._agent.pid:
            pids[f"{self.name}-agent"] = self._agent.pid
        return pids

    def kubeconfig(self) -> Path:
        """Writes the kubeconfig of the cluster's own administrator; returns its path."""
        return self._cluster.kubeconfig(self._folder / "direct.yaml")

    async def start(self) -> None:
        """Starts the control plane."""
        await asyncio.to_thread(self._folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        await self._cluster.start()

    async def stop(self) -> None:
        """Stops the agent, then the control plane."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)
        if self._agent is not None:
            await self._agent.stop()
        await self._cluster.stop()

    async def join(self, entry: Entry, management: Client) -> dict[str, Any]:
        """Imports the cluster if it is not yet, starts its agent, waits until it is active.

        Returns the cluster's entry in the ready file. Raises DemoError.
        """
        identifier = await self._record(entry)
        direct = self.kubeconfig()
        transport = HttpTransport(kubeconfig.load(direct))
        client = Client(transport)
        try:
            if not await self._is_registered(client, entry):
                await self._apply_manifest(entry, management, identifier, direct)
            await self.start_agent(client)
        finally:
            await transport.close()
        await self._until_active(management, identifier)
        through = await entry.kubeconfig(identifier, self.name)
        return {
            "id": identifier,
            "name": self.name,
            "kubeconfig": str(through),
            "direct_kubeconfig": str(direct),
            "agent_pid": self._agent.pid if self._agent is not None else None,
        }

    async def _record(self, entry: Entry) -> str:
        transport = HttpTransport(kubeconfig.load(await entry.kubeconfig("local")))
        try:
            client = Client(transport)
            for cluster in (await client.list(CLUSTERS)).items:
                if cluster.spec.display_name == self.name and not cluster.is_deleting:
                    return cluster.metadata.name
            draft = {
                "apiVersion": CLUSTERS.api_version,
                "kind": CLUSTERS.kind,
                "metadata": {"generateName": "c-"},
                "spec": {"displayName": self.name, "importedConfig": {}},
            }
            return (await client.create(CLUSTERS, draft)).metadata.name
        finally:
            await transport.close()

    async def _is_registered(self, client: Client, entry: Entry) -> bool:
        try:
            deployment = await client.get(DEPLOYMENTS, DEPLOYMENT, NAMESPACE)
        except NotFound:
            return False
        return _variables(deployment).get("CATTLE_SERVER") == entry.url

    async def _apply_manifest(self, entry: Entry, management: Client, identifier: str, direct: Path) -> None:
        url = await self._manifest_url(management, identifier)
        manifest = await entry.fetch(urlsplit(url).path)
        process = await asyncio.create_subprocess_exec(
            *("kubectl", "--kubeconfig", str(direct), "apply", "-f", "-"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment(os.environ)
            | {"PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"},
        )
        output, _ = await process.communicate(manifest)
        if process.returncode:
            raise DemoError(f"kubectl apply of the manifest of {self.name} failed:\n{output.decode()}")

    async def _manifest_url(self, management: Client, identifier: str) -> str:
        """What a user reads as the registration's manifestUrl, its token filled in."""
        for _ in range(int(PATIENCE / LOOK)):
            try:
                registration = await management.get(REGISTRATION_TOKENS, "default-token", identifier)
                secret = await management.get(SECRETS, f"crt-token-{registration.metadata.name}", identifier)
                if registration.status.manifest_url:
                    token = base64.b64decode(secret["data"]["token"]).decode()
                    return registration.status.manifest_url.replace("{token}", token)
            except NotFound:
                pass
            await asyncio.sleep(LOOK)
        raise DemoError(f"no registration token was made for {self.name} within {PATIENCE:.0f} s")

    async def start_agent(self, client: Client) -> None:
        """Starts the agent that the applied manifest describes. Raises NotFound when none was applied, DemoError."""
        deployment = await client.get(DEPLOYMENTS, DEPLOYMENT, NAMESPACE)
        variables = _variables(deployment)
        credentials, account = self._folder / "credentials", self._folder / "serviceaccount"
        secret = await client.get(SECRETS, variables["CATTLE_CREDENTIAL_NAME"], NAMESPACE)
        root = await self._root_ca(client)
        for folder, files in (
            (credentials, {key: base64.b64decode(value) for key, value in secret["data"].items()}),
            (account, {"ca.crt": root.encode(), "namespace": NAMESPACE.encode()}),
        ):
            await asyncio.to_thread(_materialise, folder, files)
        await self._renew_token(client)
        address = urlsplit(self._cluster.server)
        variables |= {
            "KUBERNETES_SERVICE_HOST": address.hostname or "",
            "KUBERNETES_SERVICE_PORT": str(address.port),
            "OUTRIDER_AGENT_CREDENTIALS": str(credentials),
            "OUTRIDER_AGENT_SERVICE_ACCOUNT": str(account),
            # No pod: nobody probes it, and another image of the Deployment does not replace it
            "OUTRIDER_AGENT_PROBE_PORT": "",
            "OUTRIDER_AGENT_IMAGE": "",
        }
        self._agent = SupervisedProcess(
            Command(
                "agent",
                (sys.executable, "-m", "outrider.cli", "agent"),
                environment(os.environ) | _agent_settings(os.environ) | variables,
            ),
            log=self._folder / "agent.log",
            pid_file=self._folder / "agent.pid",
            probe=None,
            policy=Policy(stop_grace=6.0),
        )
        self._agent.start()
        self._renewal = asyncio.create_task(self._renew_for_ever())

    async def _root_ca(self, client: Client) -> str:
        for _ in range(int(PATIENCE / LOOK)):
            found = await client.get_or_none(CONFIGMAPS, "kube-root-ca.crt", NAMESPACE)
            if found is not None:
                return str(found["data"]["ca.crt"])
            await asyncio.sleep(LOOK)
        raise DemoError(f"{self.name} did not publish its CA within {PATIENCE:.0f} s")

    async def _renew_token(self, client: Client) -> None:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": int(TOKEN_LIFE.total_seconds())},
        }
        answer = await client.create_subresource(SERVICEACCOUNTS, "cattle", NAMESPACE, "token", body)
        token = answer["status"]["token"].encode()
        await asyncio.to_thread(_materialise, self._folder / "serviceaccount", {"token": token})

    async def _renew_for_ever(self) -> None:
        delay = TOKEN_LIFE.total_seconds() / 2
        while True:
            await asyncio.sleep(delay)
            transport = HttpTransport(self._cluster.access)
            try:
                await self._renew_token(Client(transport))
                delay = TOKEN_LIFE.total_seconds() / 2
            except KubeError:
                delay = 60.0
            finally:
                await transport.close()

    async def _until_active(self, management: Client, identifier: str) -> None:
        since = time.monotonic()
        state = ""
        while time.monotonic() - since < PATIENCE:
            cluster = await management.get(CLUSTERS, identifier)
            state = cluster.status.state
            if cluster.status.connected and state == "active":
                return
            await asyncio.sleep(LOOK)
        raise DemoError(
            f"{self.name} ({identifier}) is {state or 'unknown'} after {PATIENCE:.0f} s; its agent's log is "
            f"{self._folder / 'agent.log'}"
        )


def _variables(deployment: dict[str, Any]) -> dict[str, str]:
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one.get("value", "") for one in containers[0].get("env") or ()}


def _agent_settings(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name.startswith("OUTRIDER_AGENT_")}


def _materialise(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in files.items():
        partial = folder / f".{name}.new"
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        partial.rename(folder / name)
