"""Finds the cluster that a registration token admits to, and the token that a registration holds now."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.registration_token import REGISTRATION_TOKENS, ClusterRegistrationToken
from outrider.features.clusters import registration as reg
from outrider.features.clusters.settings import ClusterSettings
from outrider.kit.clock import Clock
from outrider.kube.client import Client
from outrider.kube.errors import NotFound
from outrider.kube.meta import ObjectKey
from outrider.runtime.store import Lister

SECRET_LABEL: Final = "management.cattle.io/registration-token"  # noqa: S105 - a label's name
SECRET_SELECTOR: Final = f"{SECRET_LABEL}=true"
FORMER_ANNOTATION: Final = "outrider.io/former-credentials"
TOKEN_INDEX: Final = "token"  # noqa: S105 - an index' name


def secret_name(registration: str) -> str:
    """The Secret of a registration: ``crt-token-<name>``, shortened by a hash where that is too long."""
    name = f"crt-token-{registration}"
    return name if len(name) <= 253 else f"{name[:200]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def token_hashes(secret: dict[str, Any]) -> Iterable[str]:
    """What the informer of token Secrets files a Secret under (index `TOKEN_INDEX`)."""
    held = reg.read_secret(secret)
    if held is None:
        return ()
    return [reg.token_hash(token) for token in (held.token, held.previous_token) if token]


def former_names(secret: Mapping[str, Any]) -> list[str]:
    """The names in a Secret's annotation `FORMER_ANNOTATION`."""
    text = (secret["metadata"].get("annotations") or {}).get(FORMER_ANNOTATION, "")
    return [name for name in text.split(",") if name]


class Registry:
    """Reads registrations and their Secrets; what decides about access is confirmed at the API server."""

    def __init__(
        self,
        client: Client,
        *,
        clusters: Lister[Cluster],
        registrations: Lister[ClusterRegistrationToken],
        secrets: Lister[dict[str, Any]],
        settings: ClusterSettings,
        clock: Clock,
    ) -> None:
        self._client = client
        self._clusters = clusters
        self._registrations = registrations
        self._secrets = secrets
        self._settings = settings
        self._clock = clock

    def find(self, token: str, *, leaving: bool = False) -> tuple[str, ClusterRegistrationToken] | None:
        """(cluster, registration) that `token` admits to now; None for an unknown, expired or revoked one.

        That of a cluster which is being deleted is found with `leaving` only.
        """
        if not reg.well_formed(token):
            return None
        for secret in self._secrets.index(TOKEN_INDEX, reg.token_hash(token)):
            found = self._owner(secret)
            cluster = self._cluster_of(found) if found is not None else None
            if found is None or cluster is None or (cluster.is_deleting and not leaving):
                continue
            held = reg.read_secret(secret)
            if held is not None and reg.accepts(held, self.terms(found), token, self._clock.now()):
                return found.metadata.namespace, found
        return None

    async def authenticate(self, token: str) -> tuple[str, str] | None:
        """(cluster, registration's name), after asking the API server whether the registration still is there.

        The cluster may be on its way out: its agent comes back to tell how far it is.

        The local copies may be a moment old; a deleted registration must not admit anybody in that moment.
        Raises KubeError when the API server does not say.
        """
        found = self.find(token, leaving=True)
        if found is None:
            return None
        cluster, registration = found
        try:
            live = await self._client.get(REGISTRATION_TOKENS, registration.metadata.name, cluster)
        except NotFound:
            return None
        if live.metadata.uid != registration.metadata.uid or live.is_deleting:
            return None
        return cluster, registration.metadata.name

    def cluster(self, name: str) -> Cluster | None:
        """The record of a cluster as it was last seen."""
        return self._clusters.get(ObjectKey("", name))

    def terms(self, registration: ClusterRegistrationToken) -> reg.Terms:
        """How long the registration's tokens live."""
        return reg.terms(
            registration.metadata.name,
            registration.metadata.annotations,
            registration.spec.ttl,
            registration.spec.grace_period,
            self._settings.registration_policy(),
        )

    def held(self, cluster: str, registration: str) -> reg.TokenSecret | None:
        """The token that a registration holds, whether it is still good or not."""
        secret = self.secret(cluster, registration)
        return reg.read_secret(secret) if secret is not None else None

    def secret(self, cluster: str, registration: str) -> dict[str, Any] | None:
        """The Secret of a registration as it was last seen."""
        return self._secrets.get(ObjectKey(cluster, secret_name(registration)))

    def former_names(self, cluster: str, registration: str) -> list[str]:
        """Names of the credentials that earlier tokens of the registration were deployed under."""
        secret = self.secret(cluster, registration)
        return former_names(secret) if secret is not None else []

    def live_registration(self, cluster: str, preferred: str) -> str:
        """The registration whose token an agent should hold: `preferred` while it lasts; empty for none."""
        usable = sorted(one.metadata.name for one in self._registrations.list(cluster) if self.usable(one))
        return preferred if preferred in usable else (usable[0] if usable else "")

    def tokens(self, cluster: str) -> dict[str, str]:
        """The clear tokens of the registrations that let agents in now, by the registration's name."""
        found = {}
        for one in self._registrations.list(cluster):
            held = self.held(cluster, one.metadata.name)
            if held is not None and self.usable(one):
                found[one.metadata.name] = held.token
        return found

    def known_tokens(self, cluster: str) -> list[str]:
        """All clear tokens of the cluster's registrations, good or not, those before a rotation too."""
        held = [reg.read_secret(secret) for secret in self._secrets.list(cluster)]
        return [token for one in held if one for token in (one.token, one.previous_token) if token]

    def usable(self, registration: ClusterRegistrationToken) -> bool:
        """Whether the registration lets agents in now."""
        held = self.held(registration.metadata.namespace, registration.metadata.name)
        alive = not registration.is_deleting
        return alive and held is not None and reg.usable(held, self.terms(registration), self._clock.now())

    def justifies(self, cluster: str, registration: str) -> bool:
        """Whether a session that `registration` let in may go on.

        It may while the registration is there, or another of the cluster still admits its agents.
        """
        if self._clusters.get(ObjectKey("", cluster)) is None:
            return False
        if self._registrations.get(ObjectKey(cluster, registration)) is not None:
            return True
        return any(self.usable(other) for other in self._registrations.list(cluster))

    def _owner(self, secret: dict[str, Any]) -> ClusterRegistrationToken | None:
        metadata = secret["metadata"]
        for owner in metadata.get("ownerReferences") or []:
            if owner.get("kind") == REGISTRATION_TOKENS.kind:
                found = self._registrations.get(ObjectKey(metadata["namespace"], owner.get("name", "")))
                return found if found is not None and found.metadata.uid == owner.get("uid") else None
        return None

    def _cluster_of(self, registration: ClusterRegistrationToken) -> Cluster | None:
        if registration.is_deleting or registration.spec.cluster_name != registration.metadata.namespace:
            return None
        return self._clusters.get(ObjectKey("", registration.metadata.namespace))
