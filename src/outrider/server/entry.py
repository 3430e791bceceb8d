"""The instance's own way through its front door: the administrator's kubeconfigs, as files."""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path

from outrider.apis.management.setting import SETTINGS
from outrider.features.auth.bootstrap import bootstrap_password, find_admin
from outrider.features.auth.rescue import stand_alone_issuer
from outrider.kube import kubeconfig
from outrider.kube.client import Client
from outrider.kube.errors import KubeError
from outrider.kube.transport import HttpTransport, Request


class EntryError(Exception):
    """The administrator cannot be let in; the text says what to do."""


class Entry:
    """URL, CA and kubeconfigs of the administrator. Made by `open`."""

    def __init__(self, client: Client, url: str, ca_file: Path, folder: Path, token: str) -> None:
        self.url = url
        self.ca_file = ca_file
        self._client = client
        self._folder = folder
        self._token = token

    @classmethod
    async def open(cls, client: Client, url: str, data: Path) -> Entry:
        """Takes up the token of an earlier start if it is still good, else makes one. Raises EntryError."""
        folder = data / "kubeconfigs"
        await asyncio.to_thread(folder.mkdir, mode=0o700, exist_ok=True)
        ca_file = data / "ca.pem"
        ca = (await client.get(SETTINGS, "cacerts")).default
        await asyncio.to_thread(ca_file.write_text, ca)
        entry = cls(client, url, ca_file, folder, "")
        held = folder / "local.yaml"
        if await asyncio.to_thread(held.exists):
            entry._token = kubeconfig.load(held).token
            if await entry._is_good():
                return entry
        entry._token = await entry._mint()
        return entry

    async def bootstrap_password(self) -> str:
        """The first password, as long as its Secret is there."""
        return await bootstrap_password(self._client)

    async def kubeconfig(self, cluster: str, name: str = "") -> Path:
        """A kubeconfig for a cluster through the front door."""
        path = self._folder / f"{cluster}.yaml"
        text = kubeconfig.render(
            name=name or cluster,
            server=f"{self.url}/k8s/clusters/{cluster}",
            token=self._token,
            ca_pem=await asyncio.to_thread(self.ca_file.read_bytes),
        )
        await asyncio.to_thread(_write, path, text)
        return path

    async def fetch(self, path: str) -> bytes:
        """The body behind a path of the front door, without credentials. Raises EntryError."""
        transport = HttpTransport(
            kubeconfig.ClusterAccess(server=self.url, ca_pem=await asyncio.to_thread(self.ca_file.read_bytes))
        )
        try:
            response = await transport.request(
                Request(method="GET", path=path, headers=[], body=b""), timeout=10
            )
        finally:
            await transport.close()
        if response.status != 200:
            raise EntryError(f"GET {self.url} answers {response.status} where a manifest was expected")
        return response.body

    async def _is_good(self) -> bool:
        access = kubeconfig.ClusterAccess(
            server=f"{self.url}/k8s/clusters/local",
            ca_pem=await asyncio.to_thread(self.ca_file.read_bytes),
            token=self._token,
        )
        transport = HttpTransport(access)
        try:
            await Client(transport, max_retries=0).get_json("/version")
        except KubeError:
            return False
        finally:
            await transport.close()
        return True

    async def _mint(self) -> str:
        admin = await find_admin(self._client)
        if admin is None:
            raise EntryError("there is no administrator: run `outrider admin ensure-default-admin`")
        issuer = stand_alone_issuer(self._client)
        issued = await issuer.kubeconfig(admin, description="administrator's kubeconfigs of `outrider up`")
        return issued.value


def _write(path: Path, text: str) -> None:
    # Whole or not at all: several clusters are imported at the same time, and scripts read these files.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial.rename(path)
