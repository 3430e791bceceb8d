"""What the agent shows when it dials: the registration token and where its cluster is.

Source: clusters-and-agents §3.2. The token may be rotated at any time: the server keeps the Secret in the
cluster up to date, and the mounted file follows it a minute later, or never where the agent is no pod.
"""

from __future__ import annotations

import base64
import binascii
import logging

import msgspec

from outrider import __version__
from outrider.agent.settings import AgentSettings, is_token, read_file
from outrider.kube.builtin import NAMESPACES, SECRETS
from outrider.kube.client import Client
from outrider.kube.errors import KubeError

log = logging.getLogger(__name__)

NAMESPACE = "cattle-system"


class Registration:
    """Finds the token, and makes the headers of a dial; `shown` is the token of the last one."""

    def __init__(self, settings: AgentSettings, client: Client) -> None:
        self._settings = settings
        self._client = client
        self._uid = ""
        self.shown = ""

    async def headers(self, *, refused: bool = False) -> dict[str, str]:
        """Headers of a dial. Raises SettingsError.

        `refused`: the server did not accept the last token, so the one in the cluster's Secret is preferred. No
        credential of this cluster is sent: the server reaches it through the tunnel only.
        """
        settings = self._settings
        authority = read_file(settings.service_account / "ca.crt", "the service account of the pod")
        cluster = {
            "address": settings.kubernetes_address,
            "caCert": base64.b64encode(f"{authority}\n".encode()).decode(),
        }
        if uid := await self._cluster_uid():
            cluster["uid"] = uid
        params = msgspec.json.encode({"cluster": cluster})
        self.shown = (await self.stored() if refused else "") or settings.tunnel_token()
        return {
            "X-API-Tunnel-Token": self.shown,
            "X-API-Tunnel-Params": base64.b64encode(params).decode(),
            "User-Agent": f"outrider-agent/{__version__}",
        }

    async def _cluster_uid(self) -> str:
        """The uid of kube-system, by which the server tells clusters apart; empty while it cannot be had."""
        if not self._uid:
            try:
                found = await self._client.get(NAMESPACES, "kube-system")
            except KubeError as error:
                log.debug("no uid of the cluster yet: %s", error)
            else:
                self._uid = str(found["metadata"].get("uid", ""))
        return self._uid

    async def stored(self, name: str = "") -> str:
        """The token in a Secret, that which is mounted by default, as it is now; empty when it cannot be had."""
        name = name or self._settings.credential_name
        try:
            secret = await self._client.get(SECRETS, name, NAMESPACE)
            token = base64.b64decode((secret.get("data") or {}).get("token", ""), validate=True).decode()
        except (KubeError, ValueError, binascii.Error) as error:
            log.debug("no token in the Secret %s: %s", name, type(error).__name__)
            return ""
        return token if is_token(token) else ""
