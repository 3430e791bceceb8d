"""Writes the five objects of an impersonation account, and reads its token."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from typing import Any

from outrider.agent import accounts
from outrider.agent.accounts import Grant, Manifest
from outrider.agent.patience import waits
from outrider.kube.builtin import CLUSTERROLEBINDINGS, CLUSTERROLES, NAMESPACES, SECRETS, SERVICEACCOUNTS
from outrider.kube.client import Client
from outrider.kube.errors import Conflict, Invalid, NotFound
from outrider.kube.kind import Kind
from outrider.tunnel.exchange import CredentialError

_ACCOUNT_UID = "kubernetes.io/service-account.uid"


class AccountKeeper:
    """All writes go through server-side apply and are idempotent: two replicas may make the same account.

    A token may take `patience` seconds to be issued (contract: 10 times 200 ms).
    """

    def __init__(self, client: Client, *, patience: float = 2.0) -> None:
        self._client = client
        self._patience = patience

    async def write(self, user: str, grant: Grant) -> str:
        """Makes all objects as they should be; returns the uid of the ServiceAccount. Raises KubeError."""
        await self._client.apply(NAMESPACES, accounts.namespace())
        role_uid = await self.write_role(user, grant)
        await self._put(CLUSTERROLEBINDINGS, accounts.cluster_role_binding(user, role_uid))
        account = await self._put(SERVICEACCOUNTS, accounts.service_account(user, role_uid))
        await self._put(SECRETS, accounts.token_secret(user, role_uid))
        return _uid(account)

    async def write_role(self, user: str, grant: Grant) -> str:
        """Makes the ClusterRole say exactly `grant`; returns its uid. Raises KubeError."""
        role = await self._put(CLUSTERROLES, accounts.cluster_role(user, grant))
        if role.get("aggregationRule"):
            # Somebody lets a controller fill the rules; an apply does not remove what others set.
            await self._discard(CLUSTERROLES, role)
            role = await self._put(CLUSTERROLES, accounts.cluster_role(user, grant))
        return _uid(role)

    async def token(self, user: str, account_uid: str) -> str:
        """Waits for the token of this very account. Raises CredentialError when none comes, KubeError."""
        name = accounts.secret_name(user)
        for wait in waits(self._patience, self._patience / 10):
            await asyncio.sleep(wait)
            try:
                secret = await self._client.get(SECRETS, name, accounts.NAMESPACE)
            except NotFound:
                await self._write_secret(user)
                continue
            owner = (secret["metadata"].get("annotations") or {}).get(_ACCOUNT_UID, account_uid)
            if owner != account_uid:
                await self._discard(SECRETS, secret)
                await self._write_secret(user)
            elif token := _token_in(secret):
                return token
        raise CredentialError(
            f"no token was issued for the service account {accounts.account_name(user)} within"
            f" {self._patience:g} s; is the cluster's controller manager running?"
        )

    async def discard_token(self, user: str) -> None:
        """Deletes the Secret, so that another token is issued. Raises KubeError."""
        await self._client.delete_if_exists(SECRETS, accounts.secret_name(user), accounts.NAMESPACE)

    async def remove(self, user: str) -> None:
        """Deletes the user's objects; what is already gone is no error. Raises KubeError."""
        name = accounts.account_name(user)
        await self._client.delete_if_exists(CLUSTERROLEBINDINGS, name)
        await self.discard_token(user)
        await self._client.delete_if_exists(SERVICEACCOUNTS, name, accounts.NAMESPACE)
        await self._client.delete_if_exists(CLUSTERROLES, name)

    async def _write_secret(self, user: str) -> None:
        try:
            role = await self._client.get(CLUSTERROLES, accounts.account_name(user))
        except NotFound:
            raise CredentialError("it was deleted meanwhile; try again") from None
        await self._put(SECRETS, accounts.token_secret(user, _uid(role)))

    async def _put(self, kind: Kind[dict[str, Any]], manifest: Manifest) -> dict[str, Any]:
        """Applies; an object that stands in the way with other immutable fields is replaced."""
        try:
            return await self._client.apply(kind, manifest)
        except Invalid:
            metadata = manifest["metadata"]
            await self._client.delete_if_exists(kind, metadata["name"], metadata.get("namespace", ""))
            return await self._client.apply(kind, manifest)

    async def _discard(self, kind: Kind[dict[str, Any]], obj: dict[str, Any]) -> None:
        metadata = obj["metadata"]
        name, inside = metadata["name"], metadata.get("namespace", "")
        # gone, or another one already: what is read next shows which
        with contextlib.suppress(NotFound, Conflict):
            await self._client.delete(kind, name, inside, uid=metadata["uid"])


def _uid(obj: dict[str, Any]) -> str:
    return str(obj["metadata"]["uid"])


def _token_in(secret: dict[str, Any]) -> str:
    encoded = (secret.get("data") or {}).get("token", "")
    try:
        return base64.b64decode(encoded, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return ""
