"""Gives every ClusterRegistrationToken its Secret, its commands and its schedule (contract: clusters §2.1)."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.registration_token import (
    REGISTRATION_TOKENS,
    ClusterRegistrationToken,
    ClusterRegistrationTokenStatus,
)
from outrider.features.clusters import registration as reg
from outrider.features.clusters.commands import commands
from outrider.features.clusters.manifest import ca_checksum, credentials_name
from outrider.features.clusters.registry import (
    FORMER_ANNOTATION,
    SECRET_LABEL,
    Registry,
    former_names,
    secret_name,
)
from outrider.features.clusters.settings import ClusterSettings
from outrider.kit.clock import Clock
from outrider.kube.builtin import ROLES, SECRETS
from outrider.kube.client import Client
from outrider.kube.errors import NotFound
from outrider.kube.meta import ObjectKey
from outrider.kube.patches import merge_patch
from outrider.runtime.controller import DONE, Result, TerminalError, requeue
from outrider.runtime.store import Lister

READER_ROLE: Final = "crt-token-reader"
HASH_ANNOTATION: Final = "io.cattle.agent.registration-token-hash"

_LONGEST_WAIT: Final = 3600.0
_FORMER_NAMES: Final = 24


class RegistrationReconciler:
    """Makes and rotates tokens, and publishes how to use them. `readers` has the Roles called `READER_ROLE`."""

    def __init__(
        self,
        client: Client,
        *,
        clusters: Lister[Cluster],
        registrations: Lister[ClusterRegistrationToken],
        readers: Lister[dict[str, Any]],
        registry: Registry,
        settings: ClusterSettings,
        clock: Clock,
        make_token: Callable[[], str] = reg.new_token,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._clusters = clusters
        self._registrations = registrations
        self._roles = readers
        self._registry = registry
        self._settings = settings
        self._clock = clock
        self._make_token = make_token
        self._draw = draw
        self._readers: dict[str, list[str]] = {}

    async def reconcile(self, key: ObjectKey) -> Result:
        """Bring one registration up to date; comes back when its token expires."""
        registration = self._registrations.get(key)
        if registration is None or registration.is_deleting:
            return DONE
        cluster = self._clusters.get(ObjectKey("", key.namespace))
        if registration.spec.cluster_name != key.namespace:
            raise TerminalError(
                f"spec.clusterName is {registration.spec.cluster_name!r}, but a registration belongs into "
                "the namespace that is named like its cluster"
            )
        if cluster is None or cluster.is_deleting:
            return DONE
        now = self._clock.now()
        terms = self._registry.terms(registration)
        held = await self._keep_secret(registration, terms, now)
        await self._let_readers_read(cluster)
        await self._publish(registration, cluster, held)
        if registration.metadata.name == reg.SYSTEM_REGISTRATION:
            await self._mark_cluster(cluster, held)
        change = reg.next_change(held, terms, now)
        wait = (change - now).total_seconds() if change else None
        return DONE if wait is None else requeue(min(max(wait, 0.0) + 0.05, _LONGEST_WAIT))

    async def _keep_secret(
        self, registration: ClusterRegistrationToken, terms: reg.Terms, now: datetime
    ) -> reg.TokenSecret:
        stored = await self._stored(registration)
        old = reg.read_secret(stored) if stored else None
        if old is None:
            token = registration.status.token or self._make_token()
            new = reg.issue(terms, now, token=token, jitter=self._draw())
        else:
            new = reg.renew(old, terms, now, make=self._make_token, jitter=self._draw())
        if stored is None or old != new or not _is_ours(stored, registration):
            document = token_secret(registration, new, self._former(stored, old, new))
            if stored:
                # Guards against writing over a newer one
                document["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"]
            await self._client.apply(SECRETS, document)
        return new

    def _former(
        self, stored: dict[str, Any] | None, old: reg.TokenSecret | None, new: reg.TokenSecret
    ) -> list[str]:
        """Names under which agents may have the credential mounted; they get the new one under them too."""
        names = former_names(stored) if stored else []
        if old is not None and old.token != new.token:
            names.append(credentials_name(self._settings.value("server-url"), old.token, ""))
        return names[-_FORMER_NAMES:]

    async def _stored(self, registration: ClusterRegistrationToken) -> dict[str, Any] | None:
        metadata = registration.metadata
        name = secret_name(metadata.name)
        known = self._registry.secret(metadata.namespace, metadata.name)
        if known is not None and _is_ours(known, registration):
            return known
        # One without our label, or too young: asked for in person
        try:
            stored = await self._client.get(SECRETS, name, metadata.namespace)
        except NotFound:
            return None
        if _is_of_another(stored, registration):
            # Left by a deleted registration of this name: its token must not live on in the new one
            await self._client.delete_if_exists(
                SECRETS, name, metadata.namespace, uid=stored["metadata"]["uid"]
            )
            return None
        return stored

    async def _let_readers_read(self, cluster: Cluster) -> None:
        namespace, uid = cluster.metadata.name, cluster.metadata.uid
        names = sorted(secret_name(one.metadata.name) for one in self._registrations.list(namespace))
        if self._readers.get(uid) == names:
            return
        role, held = reader_role(namespace, names), self._roles.get(ObjectKey(namespace, READER_ROLE))
        if held is None or held.get("rules") != role["rules"]:
            await self._client.apply(ROLES, role)
        self._readers[uid] = names

    async def _publish(
        self, registration: ClusterRegistrationToken, cluster: Cluster, held: reg.TokenSecret
    ) -> None:
        lines = commands(
            server_url=self._settings.value("server-url"),
            cluster=cluster.metadata.name,
            ca_checksum=ca_checksum(self._settings.value("cacerts")),
            env=cluster.spec.agent_env_vars or (),
        )
        status = status_of(registration, msgspec.structs.asdict(lines), held)
        changes = merge_patch(msgspec.to_builtins(registration.status), msgspec.to_builtins(status))
        if changes:
            metadata = registration.metadata
            await self._client.patch(
                REGISTRATION_TOKENS,
                metadata.name,
                {"metadata": {"resourceVersion": metadata.resource_version}, "status": changes},
                metadata.namespace,
                subresource="status",
            )

    async def _mark_cluster(self, cluster: Cluster, held: reg.TokenSecret) -> None:
        # What is deployed with this token is deployed again when the annotation changes
        mark = hashlib.sha256(held.token.encode()).hexdigest()[:10]
        if cluster.metadata.annotations.get(HASH_ANNOTATION) != mark:
            patch = {"metadata": {"annotations": {HASH_ANNOTATION: mark}}}
            await self._client.patch(CLUSTERS, cluster.metadata.name, patch)


def _is_ours(stored: dict[str, Any], registration: ClusterRegistrationToken) -> bool:
    metadata = stored["metadata"]
    owners = [owner.get("uid") for owner in metadata.get("ownerReferences") or []]
    labelled = (metadata.get("labels") or {}).get(SECRET_LABEL) == "true"
    return labelled and registration.metadata.uid in owners


def _is_of_another(stored: dict[str, Any], registration: ClusterRegistrationToken) -> bool:
    owners = [
        owner.get("uid")
        for owner in stored["metadata"].get("ownerReferences") or []
        if owner.get("kind") == REGISTRATION_TOKENS.kind
    ]
    return bool(owners) and registration.metadata.uid not in owners


def token_secret(
    registration: ClusterRegistrationToken, held: reg.TokenSecret, former: list[str]
) -> dict[str, Any]:
    """The Secret of a registration."""
    annotations = reg.secret_annotations(held)
    if former:
        annotations[FORMER_ANNOTATION] = ",".join(former)
    metadata = {
        "name": secret_name(registration.metadata.name),
        "namespace": registration.metadata.namespace,
        "labels": {SECRET_LABEL: "true"},
        "annotations": annotations,
        "ownerReferences": [
            {
                "apiVersion": REGISTRATION_TOKENS.api_version,
                "kind": REGISTRATION_TOKENS.kind,
                "name": registration.metadata.name,
                "uid": registration.metadata.uid,
            }
        ],
    }
    return {"metadata": metadata, "type": "Opaque", "data": reg.secret_data(held)}


def reader_role(namespace: str, secrets: list[str]) -> dict[str, Any]:
    """The Role that lets whoever may read registrations read their tokens, and no other Secret."""
    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": secrets}
    return {"metadata": {"name": READER_ROLE, "namespace": namespace}, "rules": [rule] if secrets else []}


def status_of(
    registration: ClusterRegistrationToken, lines: dict[str, str], held: reg.TokenSecret
) -> ClusterRegistrationTokenStatus:
    """The status of a registration: commands with the placeholder, and when the token changes."""
    return msgspec.structs.replace(
        registration.status,
        token="",
        token_secret_name=secret_name(registration.metadata.name),
        expires_at=reg.format_time(held.expires_at),
        grace_period_expires_at=reg.format_time(held.grace_ends_at),
        **lines,
    )
