"""What has to be asked for because nothing tells it: version, health, and markers of products."""

from __future__ import annotations

import re

import msgspec

from outrider.kube.builtin import DAEMONSETS
from outrider.kube.client import Client
from outrider.kube.errors import KubeError, NotFound, TransportError
from outrider.kube.transport import Request
from outrider.tunnel.reports import Health, VersionInfo

_FAILED = re.compile(r"^\[-\](\S+)", re.MULTILINE)


class Probes:
    """Looks at the cluster's own API server."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def version(self) -> VersionInfo | None:
        """What ``GET /version`` says; None when it cannot be had now."""
        try:
            return msgspec.convert(await self._client.get_json("/version"), VersionInfo)
        except (KubeError, msgspec.ValidationError):
            return None

    async def health(self) -> Health:
        """What ``GET /readyz?verbose`` says."""
        try:
            answer = await self._client.raw(Request(method="GET", path="/readyz?verbose"))
        except TransportError as error:
            return Health(ok=False, message=f"the API server does not answer: {error}")
        return health(answer.status, answer.body)

    async def rancherd(self) -> bool:
        """Whether the DaemonSet cattle-system/rancher marks the cluster as a rancherd one."""
        try:
            await self._client.get(DAEMONSETS, "rancher", "cattle-system")
        except NotFound:
            return False
        except KubeError:
            return False
        return True


def health(status: int, body: bytes) -> Health:
    """Reads an answer of ``/readyz?verbose``: the failing checks by name."""
    if status == 200:
        return Health(ok=True)
    failing = _FAILED.findall(body[:65536].decode("utf-8", "replace"))
    if failing:
        return Health(ok=False, message=f"failing checks: {', '.join(failing)}")
    return Health(ok=False, message=f"GET /readyz answered {status}")
