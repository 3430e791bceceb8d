"""Straight to an embedded cluster's etcd, for what its API server cannot do: forget the past, store in bulk."""

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from outrider.kube.client import Client
from outrider.kube.embedded import ports
from outrider.kube.embedded.layout import Layout
from outrider.kube.kind import Kind
from outrider.kube.kubeconfig import ClusterAccess
from outrider.kube.transport import HttpTransport

_BATCH = 100


@asynccontextmanager
async def etcd_of(data_dir: Path) -> AsyncIterator["Etcd"]:
    """The etcd of the embedded cluster in ``data_dir``."""
    layout = Layout(data_dir)
    chosen = ports.load(layout.ports)
    assert chosen is not None
    bundle = layout.bundle("etcd-client").read_bytes()
    access = ClusterAccess(
        server=f"https://127.0.0.1:{chosen.etcd_client}",
        ca_pem=layout.certificate("etcd-ca").read_bytes(),
        client_cert_pem=bundle,
        client_key_pem=bundle,
    )
    transport = HttpTransport(access)
    try:
        yield Etcd(Client(transport))
    finally:
        await transport.close()


class Etcd:
    """etcd's JSON gateway."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def compact(self) -> None:
        """Make it forget every revision but the newest."""
        revision = (await self._client.post("/v3/maintenance/status", {}))["header"]["revision"]
        await self._client.post("/v3/kv/compaction", {"revision": revision, "physical": True})

    async def plant(self, kind: Kind[Any], objects: Sequence[dict[str, Any]]) -> None:
        """Store objects of a built-in kind as an API server would have; those of one name are replaced.

        Objects of one batch share a resource version, which an API server never causes: nobody may watch.
        """
        for start in range(0, len(objects), _BATCH):
            puts = [{"request_put": _put(kind, obj)} for obj in objects[start : start + _BATCH]]
            await self._client.post("/v3/kv/txn", {"success": puts})

    async def plant_each(self, kind: Kind[Any], objects: Sequence[dict[str, Any]]) -> None:
        """The same with a resource version for each object, for those that watch."""
        gate = asyncio.Semaphore(16)

        async def one(obj: dict[str, Any]) -> None:
            async with gate:
                await self._client.post("/v3/kv/put", _put(kind, obj))

        await asyncio.gather(*map(one, objects))


def _put(kind: Kind[Any], obj: dict[str, Any]) -> dict[str, Any]:
    key = kind.key(obj)
    meta = {
        "uid": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{kind.plural} {key}")),
        "creationTimestamp": "2030-01-01T00:00:00Z",
        **obj["metadata"],
    }
    value = msgspec.json.encode({**kind.encode(obj), "metadata": meta})
    # custom resources are kept below their group
    group = kind.group if kind.group.endswith("cattle.io") else ""
    path = "/".join(part for part in ("/registry", group, kind.plural, *key) if part)
    return {"key": _b64(path.encode()), "value": _b64(value)}


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
