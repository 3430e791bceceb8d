"""Answers the gateway's question: who is this, and may it reach that cluster?"""

import logging
from collections.abc import Callable
from datetime import datetime

from outrider.apis.ext.token import BEARER_PREFIX
from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.token import Token
from outrider.apis.management.user import USERS, User
from outrider.apis.management.user_attribute import UserAttribute
from outrider.features.auth import settings as names
from outrider.features.auth.access import AccessReviews, AccessUnknown, cluster_access
from outrider.features.auth.credentials import Presented, parse
from outrider.features.auth.errors import AuthenticationFailed, Busy, TooManyAttempts, UserDisabled
from outrider.features.auth.freshness import Freshness
from outrider.features.auth.judgement import (
    MUST_AUTHENTICATE,
    Accepted,
    Facts,
    Refused,
    judge,
    judge_password,
)
from outrider.features.auth.limiter import RateLimiter
from outrider.features.auth.login import LocalPasswords
from outrider.features.auth.passwords import PasswordPool
from outrider.features.auth.secrets import parse_hash, verify
from outrider.features.auth.settings import AuthSettings
from outrider.features.auth.stored_tokens import TokenStore, key_of
from outrider.features.auth.tokens import LOCAL_PROVIDER
from outrider.features.auth.usage import TokenUsage
from outrider.kit.clock import Clock
from outrider.kube.client import Client
from outrider.kube.errors import KubeError
from outrider.kube.identity import Identity
from outrider.kube.meta import ObjectKey
from outrider.link.messages import Resolve, Verdict
from outrider.runtime.store import Lister

log = logging.getLogger(__name__)

REFUSAL_LIFETIME = 1.0
"""Seconds that a refusal may be remembered: it spares work and delays a new token or grant by no more."""

_NO_CLUSTER = "failed to find cluster"
_CANNOT_TELL = "cannot determine access, cluster is unavailable"


class Sources:
    """The local copies that verdicts are computed from."""

    def __init__(
        self,
        *,
        tokens: Lister[Token],
        users: Lister[User],
        attributes: Lister[UserAttribute],
        clusters: Lister[Cluster],
        ready: Callable[[], bool],
    ) -> None:
        self.tokens = tokens
        self.users = users
        self.attributes = attributes
        self.clusters = clusters
        self.ready = ready


class VerdictService:
    """Computes verdicts; never raises for anything a client can send."""

    def __init__(
        self,
        *,
        client: Client,
        sources: Sources,
        settings: AuthSettings,
        passwords: LocalPasswords,
        pool: PasswordPool,
        access: AccessReviews,
        freshness: Freshness,
        misses: RateLimiter,
        usage: TokenUsage,
        providers: Callable[[], frozenset[str]],
        clock: Clock,
    ) -> None:
        self._client = client
        self._store = TokenStore(client)
        self._sources = sources
        self._settings = settings
        self._passwords = passwords
        self._pool = pool
        self._access = access
        self._freshness = freshness
        self._misses = misses
        self._usage = usage
        self._providers = providers
        self._clock = clock

    async def resolve(self, question: Resolve) -> Verdict:
        """Answer one question; a failure on our side is 503, never an identity."""
        generation = self._freshness.generation
        try:
            return await self._resolve(question, generation)
        except (KubeError, AccessUnknown, Busy) as error:
            log.warning("no verdict for a request from %s: %s", question.remote, error)
            return _unavailable(question, generation)

    async def _resolve(self, question: Resolve, generation: int) -> Verdict:
        if not self._sources.ready():
            return _unavailable(question, generation)
        presented = parse(question.credential)
        if presented is None:
            return _refused(question, generation, Refused(reason="no credential"))
        token = await self._token(presented, question.remote)
        if token is None and self._is_password(presented):
            return await self._by_password(question, presented, generation)
        return await self._by_token(question, presented, token, generation)

    async def _by_token(
        self, question: Resolve, presented: Presented, token: Token | None, generation: int
    ) -> Verdict:
        matches = token is not None and await self._secret_matches(presented, token)
        user = await self._user(token.user_id) if token is not None and matches else None
        facts = Facts(
            token=token,
            secret_matches=matches,
            user=user,
            attribute=self._attribute(user),
            providers=self._providers(),
            cluster=question.cluster,
            host=question.host,
            now=self._clock.now(),
            idle_minutes=self._settings.number(names.IDLE_TTL),
        )
        judgement = judge(facts)
        name = presented.name if presented.may_be_token else ""
        if isinstance(judgement, Refused):
            return _refused(question, generation, judgement, token=name)
        self._usage.used(name)
        return await self._at_cluster(question, judgement, generation, token=name)

    async def _by_password(self, question: Resolve, presented: Presented, generation: int) -> Verdict:
        try:
            user = await self._passwords.authenticate(
                presented.name, presented.secret, remote=question.remote
            )
        except TooManyAttempts as error:
            return Verdict(
                id=question.id,
                status=429,
                generation=generation,
                ttl=error.retry_after,
                code="TooManyRequests",
                message=str(error),
            )
        except (AuthenticationFailed, UserDisabled) as error:
            return _refused(question, generation, Refused(reason=str(error)))
        judgement = judge_password(user, self._attribute(user), host=question.host)
        if isinstance(judgement, Refused):
            return _refused(question, generation, judgement, user=user.metadata.name)
        return await self._at_cluster(question, judgement, generation, token="")

    async def _at_cluster(
        self, question: Resolve, accepted: Accepted, generation: int, *, token: str
    ) -> Verdict:
        identity = accepted.identity
        if question.cluster and not await self._may_reach(identity, question.cluster):
            return Verdict(
                id=question.id,
                status=404,
                token=token,
                user=identity.user,
                generation=generation,
                ttl=REFUSAL_LIFETIME,
                code="NotFound",
                message=_NO_CLUSTER,
            )
        return Verdict(
            id=question.id,
            status=200,
            identity=identity,
            token=token,
            user=identity.user,
            generation=generation,
            ttl=self._lifetime(accepted.ends),
        )

    async def _may_reach(self, identity: Identity, cluster: str) -> bool:
        # in this order, so that the answer's time does not tell an unknown cluster from a forbidden one
        if not await self._access.allows(identity, cluster_access(cluster)):
            return False
        if self._sources.clusters.get(ObjectKey("", cluster)) is not None:
            return True
        return await self._exists(cluster)

    async def _exists(self, cluster: str) -> bool:
        try:
            return await self._client.get_or_none(CLUSTERS, cluster) is not None
        except ValueError:
            return False

    def _lifetime(self, ends: datetime | None) -> float:
        lifetime = self._freshness.lifetime()
        if ends is None:
            return lifetime
        return max(0.0, min(lifetime, (ends - self._clock.now()).total_seconds()))

    def _is_password(self, presented: Presented) -> bool:
        return (
            presented.basic
            and LOCAL_PROVIDER in self._providers()
            and self._settings.flag(names.BASIC_AUTH)
            and not presented.name.startswith(("token-", "kubeconfig-", BEARER_PREFIX))
        )

    async def _token(self, presented: Presented, remote: str) -> Token | None:
        if not presented.may_be_token:
            return None
        key = key_of(presented.name)
        token = self._sources.tokens.get(key)
        if token is not None or not presented.name.startswith(("token-", "kubeconfig-", BEARER_PREFIX)):
            return token
        # perhaps made a moment ago, by another replica: ask, but let nobody make us ask without end
        if not self._misses.allow(remote):
            return None
        return await self._store.find(key)

    async def _secret_matches(self, presented: Presented, token: Token) -> bool:
        stored = parse_hash(token.token)
        if stored is None:
            return False
        if stored.is_expensive:
            return await self._pool.run(lambda: verify(presented.secret, stored))
        return verify(presented.secret, stored)

    async def _user(self, name: str) -> User | None:
        user = self._sources.users.get(ObjectKey("", name))
        if user is not None or not name:
            return user
        try:
            return await self._client.get_or_none(USERS, name)
        except ValueError:
            return None

    def _attribute(self, user: User | None) -> UserAttribute | None:
        return self._sources.attributes.get(user.key) if user is not None else None


def _refused(
    question: Resolve, generation: int, refused: Refused, *, token: str = "", user: str = ""
) -> Verdict:
    if refused.message == MUST_AUTHENTICATE and question.credential:
        log.debug("a credential from %s was refused: %s", question.remote, refused.reason)
    return Verdict(
        id=question.id,
        status=401,
        token=token,
        user=user,
        generation=generation,
        ttl=REFUSAL_LIFETIME,
        code=refused.code,
        message=refused.message,
    )


def _unavailable(question: Resolve, generation: int) -> Verdict:
    return Verdict(
        id=question.id, status=503, generation=generation, code="ClusterUnavailable", message=_CANNOT_TELL
    )
