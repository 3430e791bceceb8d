"""The gateway's own account on the management cluster: it may impersonate, and nothing more.

Its short-lived token is written where only this user can read it, and renewed well before its end; the gateway
reads the file again when it changes.
"""

import asyncio
import logging
import os
from pathlib import Path
from typing import Any

from outrider.kit.backoff import Backoff
from outrider.kube import kubeconfig
from outrider.kube.builtin import CLUSTERROLEBINDINGS, CLUSTERROLES, SERVICEACCOUNTS
from outrider.kube.client import Client
from outrider.kube.errors import KubeError
from outrider.kube.kubeconfig import ClusterAccess

log = logging.getLogger(__name__)

NAMESPACE = "cattle-system"
NAME = "outrider-gateway"
TOKEN_SECONDS = 3600


def account() -> dict[str, Any]:
    """The service account."""
    return {"metadata": {"name": NAME, "namespace": NAMESPACE}}


def role() -> dict[str, Any]:
    """Impersonation of users, groups and their extras."""
    extras = [f"userextras/{key}" for key in ("principalid", "username", "requesttokenid", "requesthost")]
    return {
        "metadata": {"name": NAME},
        "rules": [
            {"apiGroups": [""], "resources": ["users", "groups"], "verbs": ["impersonate"]},
            {"apiGroups": ["authentication.k8s.io"], "resources": extras, "verbs": ["impersonate"]},
        ],
    }


def binding() -> dict[str, Any]:
    """Gives the account its role."""
    return {
        "metadata": {"name": NAME},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
    }


class Doorkeeper:
    """Keeps the account and writes its kubeconfig and token into `folder`."""

    def __init__(self, client: Client, access: ClusterAccess, folder: Path) -> None:
        self._client = client
        self._access = access
        self._config = folder / "gateway.kubeconfig"
        self._token = folder / "gateway.token"

    async def prepare(self) -> None:
        """Makes the account and writes the files; raises KubeError."""
        await self._client.apply(SERVICEACCOUNTS, account())
        await self._client.apply(CLUSTERROLES, role())
        await self._client.apply(CLUSTERROLEBINDINGS, binding())
        await self._renew()
        text = kubeconfig.render(
            name="management",
            server=self._access.server,
            ca_pem=self._access.ca_pem,
            token_file=str(self._token),
        )
        _write(self._config, text)

    async def run(self) -> None:
        """Renews the token for ever."""
        backoff = Backoff(1.0, 60.0)
        delay = TOKEN_SECONDS / 2
        while True:
            await asyncio.sleep(delay)
            try:
                await self._renew()
            except KubeError as error:
                delay = backoff.next()
                log.warning(
                    "the gateway's token could not be renewed; trying again in %.0f s: %s", delay, error
                )
            else:
                backoff.reset()
                delay = TOKEN_SECONDS / 2

    async def _renew(self) -> None:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
        body |= {"spec": {"expirationSeconds": TOKEN_SECONDS}}  # type: ignore[dict-item]
        answer = await self._client.create_subresource(SERVICEACCOUNTS, NAME, NAMESPACE, "token", body)
        _write(self._token, answer["status"]["token"])


def _write(path: Path, text: str) -> None:
    partial = path.with_suffix(".new")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial.rename(path)
