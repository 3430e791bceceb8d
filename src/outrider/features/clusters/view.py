"""Registrations as the API shows them: with the clear token to those who may read its Secret.

Stored objects carry the placeholder ``{token}`` in their commands (contract: clusters §2.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from outrider.apis.management.registration_token import (
    ClusterRegistrationToken,
    ClusterRegistrationTokenStatus,
)
from outrider.features.clusters import registration as reg
from outrider.features.clusters.commands import PLACEHOLDER
from outrider.features.clusters.registry import SECRET_SELECTOR, secret_name
from outrider.kube.builtin import SECRETS
from outrider.kube.client import Client
from outrider.kube.errors import Forbidden, NotFound
from outrider.kube.meta import ObjectKey

COMMAND_FIELDS: Final = (
    "command",
    "insecure_command",
    "manifest_url",
    "node_command",
    "insecure_node_command",
    "windows_node_command",
    "insecure_windows_node_command",
)


async def readable_token(client: Client, registration: ClusterRegistrationToken) -> str:
    """The clear token if `client`'s user may read it, else empty."""
    metadata = registration.metadata
    name = registration.status.token_secret_name or secret_name(metadata.name)
    try:
        secret = await client.get(SECRETS, name, metadata.namespace)
    except (Forbidden, NotFound):
        return ""
    held = reg.read_secret(secret)
    return held.token if held else ""


async def readable_tokens(
    client: Client, registrations: Sequence[ClusterRegistrationToken], namespace: str = ""
) -> list[str]:
    """The clear tokens of several registrations, in their order: one request for whoever may list Secrets."""
    try:
        listed = await client.list(SECRETS, namespace, labels=SECRET_SELECTOR)
    except Forbidden:
        return [await readable_token(client, one) for one in registrations]
    tokens = {SECRETS.key(secret): reg.read_secret(secret) for secret in listed.items}
    names = [one.status.token_secret_name or secret_name(one.metadata.name) for one in registrations]
    held = [
        tokens.get(ObjectKey(one.metadata.namespace, name))
        for one, name in zip(registrations, names, strict=True)
    ]
    return [found.token if found else "" for found in held]


def with_token(registration: ClusterRegistrationToken, token: str) -> ClusterRegistrationToken:
    """The registration with its token filled in; without one, all commands are blank."""
    status = registration.status
    filled = {name: _fill(getattr(status, name), token) for name in COMMAND_FIELDS}
    shown: ClusterRegistrationTokenStatus = msgspec.structs.replace(status, token=token, **filled)
    return msgspec.structs.replace(registration, status=shown)


def _fill(command: str, token: str) -> str:
    return command.replace(PLACEHOLDER, token) if token else ""
