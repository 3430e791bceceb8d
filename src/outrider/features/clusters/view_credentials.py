"""Cloud credentials in `/v3`: Secrets whose secret values are taken and never shown (contract: clusters §5.1)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from outrider.apis.management.cluster import Cluster
from outrider.apis.norman import NormanError
from outrider.apis.provisioning.cluster import Cluster as ProvisioningCluster
from outrider.apis.views.call import Call
from outrider.apis.views.view import Field, Hooks, InNamespace, Json, Proceed, View
from outrider.kube.builtin import SECRETS
from outrider.runtime.store import Lister

NAMESPACE: Final = "cattle-global-data"
CREATOR_LABEL: Final = "cattle.io/creator"

_SUFFIX: Final = "credentialConfig"
_SHOWN: Final = frozenset(
    {
        "accessKey", "accessKeyId", "assumeRoleArn", "clientId", "defaultBucket", "defaultEndpoint",
        "defaultEndpointCA", "defaultFolder", "defaultRegion", "defaultSkipSSLVerify", "environment",
        "roleSessionName", "subscriptionId", "tenantId", "webIdentity",
    }
)  # fmt: skip
"""Keys that are no secrets. Every other is taken and never shown."""

KNOWN: Final = tuple(
    f"{name}{_SUFFIX}"
    for name in (
        "amazonec2", "azure", "digitalocean", "google", "harvester", "linode", "openstack", "s3", "vmwarevsphere",
        "alibaba",
    )
)  # fmt: skip


class CredentialViews:
    """The view of cloud credentials."""

    def __init__(self, clusters: Lister[Cluster], twins: Lister[ProvisioningCluster]) -> None:
        self._clusters = clusters
        self._twins = twins

    def views(self) -> list[View]:
        """The view."""
        return [
            View(
                kind=SECRETS,
                type="cloudCredential",
                plural="cloudCredentials",
                fields={
                    "name": Field(annotation="field.cattle.io/name", type="string", absent=""),
                    "description": Field(annotation="field.cattle.io/description", type="string", absent=""),
                    **dict.fromkeys(KNOWN, Field(type="json")),
                },
                hidden=frozenset({"data", "stringData", "type", "immutable"}),
                placement=InNamespace(NAMESPACE),
                generate_name="cc-",
                compute=shown_configs,
                prepare=_credentials_only,
                hooks=Hooks(create=_create, update=_update, delete=self._delete),
                stateless=True,
            )
        ]

    async def _delete(self, _: Call, old: Json, proceed: Callable[[], Awaitable[Json | None]]) -> Json | None:
        identifier = f"{NAMESPACE}:{old['metadata']['name']}"
        user = next(self._users_of(identifier), None)
        if user is not None:
            raise NormanError(422, f"cluster {user} still uses this credential", code="InvalidAction")
        return await proceed()

    def _users_of(self, identifier: str) -> Iterator[str]:
        for cluster in self._clusters.list():
            if identifier in _references(msgspec.to_builtins(cluster.spec)):
                yield cluster.spec.display_name
        for twin in self._twins.list():
            if identifier in _references(msgspec.to_builtins(twin.spec)):
                yield twin.metadata.name


def _references(value: Any) -> Iterator[str]:
    """All texts below a field whose name ends in CredentialSecret or CredentialSecretName."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, str) and key.lower().endswith(("credentialsecret", "credentialsecretname")):
                yield inner
            else:
                yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def shown_configs(secret: Json, _: Call) -> Json:
    """`<driver>credentialConfig` → the keys of it that are no secrets."""
    configs: dict[str, Json] = {}
    for key, value in (secret.get("data") or {}).items():
        config, dash, name = key.partition("-")
        if dash and config.endswith(_SUFFIX):
            held = configs.setdefault(config, {})
            if name in _SHOWN:
                held[name] = _text(value)
    return configs


def data_of(body: Json) -> dict[str, str]:
    """The Secret's data that a resource asks for. Raises NormanError (422) for what is no object of texts."""
    data: dict[str, str] = {}
    for config, held in body.items():
        if not config.endswith(_SUFFIX) or held is None:
            continue
        if not isinstance(held, dict):
            raise NormanError(422, f"{config} takes an object", code="InvalidFormat", field=config)
        for name, value in held.items():
            if value is not None:
                data[f"{config}-{name}"] = _written(config, name, value)
    return data


def _written(config: str, name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        raise NormanError(422, f"{config}.{name} takes text", code="InvalidFormat", field=config)
    return value


async def _create(_: Call, draft: Json, body: Json, proceed: Proceed) -> Json:
    if not any(config.endswith(_SUFFIX) and held is not None for config, held in body.items()):
        raise NormanError(422, "a Config field must be set", code="MissingRequired")
    metadata = draft["metadata"]
    metadata["labels"] = (metadata.get("labels") or {}) | {CREATOR_LABEL: "norman"}
    return await proceed({"metadata": metadata, "type": "Opaque", "stringData": data_of(body)})


async def _update(_: Call, old: Json, patch: Json, body: Json, proceed: Proceed) -> Json:
    # a secret that is not sent, or sent back empty as it was shown, stays
    data = {key: value for key, value in data_of(body).items() if value or key not in (old.get("data") or {})}
    changes = {key: _encoded(value) for key, value in data.items()}
    held = old.get("data") or {}
    changed = {key: value for key, value in changes.items() if held.get(key) != value}
    metadata = {"metadata": patch["metadata"]} if "metadata" in patch else {}
    return await proceed(metadata | ({"data": changed} if changed else {}))


async def _credentials_only(_: Call, secrets: Sequence[Json]) -> Sequence[Json]:
    return [secret for secret in secrets if _is_credential(secret.get("data") or {})]


def _is_credential(keys: Iterable[str]) -> bool:
    return any(key.partition("-")[0].endswith(_SUFFIX) for key in keys)


def _encoded(value: str) -> str:
    return base64.b64encode(value.encode()).decode("ascii")


def _text(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
