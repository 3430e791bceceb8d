"""Tokens: what a new one looks like, and the one place that makes them (contract, auth-and-rbac §1.5 to §1.10)."""

import contextlib

import msgspec

from outrider.apis.management.principal import Principal
from outrider.apis.management.token import (
    HASHED_ANNOTATION,
    KIND_LABEL,
    KUBECONFIG_LABEL,
    TOKENS,
    USER_LABEL,
    Token,
)
from outrider.apis.management.user import User
from outrider.features.auth import settings as names
from outrider.features.auth.errors import AuthError
from outrider.features.auth.secrets import hash_secret, new_secret, random_text
from outrider.features.auth.settings import AuthSettings
from outrider.features.auth.ttl import session_ttl, token_ttl
from outrider.kube.client import Client
from outrider.kube.errors import AlreadyExists
from outrider.kube.meta import ObjectMeta

LOCAL_PROVIDER = "local"
SESSION = "session"
KUBECONFIG = "kubeconfig"

_NAME_ATTEMPTS = 8


class IssuedToken(msgspec.Struct, frozen=True, kw_only=True):
    """A stored token and its secret, which exists nowhere else."""

    token: Token
    secret: str

    @property
    def value(self) -> str:
        """What the client presents."""
        return f"{self.token.metadata.name}:{self.secret}"

    def __repr__(self) -> str:
        return f"IssuedToken({self.token.metadata.name})"


def local_principal(user: User) -> Principal:
    """The principal that every user has of itself."""
    return Principal(
        metadata=ObjectMeta(name=f"local://{user.metadata.name}"),
        display_name=user.display_name,
        login_name=user.username,
        principal_type="user",
        provider=LOCAL_PROVIDER,
        me=True,
    )


def session_draft(user: User, *, ttl: int, description: str) -> Token:
    """A login session of a local user."""
    return Token(
        metadata=_meta(user.metadata.name, SESSION),
        user_id=user.metadata.name,
        auth_provider=LOCAL_PROVIDER,
        user_principal=local_principal(user),
        ttl=ttl,
        description=description,
    )


def kubeconfig_draft(
    parent: Token, *, ttl: int, cluster: str, description: str, kubeconfig: str = ""
) -> Token:
    """The token in a kubeconfig, of the stored one of that name if any; with a cluster it reaches only that one."""
    draft = derived_draft(parent, ttl=ttl, description=description, cluster=cluster)
    draft.metadata = _meta(parent.user_id, KUBECONFIG)
    if kubeconfig:
        draft.metadata.labels[KUBECONFIG_LABEL] = kubeconfig
    return draft


def derived_draft(parent: Token, *, ttl: int, description: str, cluster: str) -> Token:
    """An API key that speaks for whoever signed in as the parent."""
    return Token(
        metadata=_meta(parent.user_id, ""),
        user_id=parent.user_id,
        auth_provider=parent.auth_provider,
        user_principal=parent.user_principal,
        group_principals=parent.group_principals,
        provider_info=parent.provider_info,
        is_derived=True,
        ttl=ttl,
        description=description,
        cluster_name=cluster,
    )


def _meta(user: str, kind: str) -> ObjectMeta:
    labels = {USER_LABEL: user} | ({KIND_LABEL: kind} if kind else {})
    return ObjectMeta(labels=labels, annotations={HASHED_ANNOTATION: "true"})


class TokenIssuer:
    """Creates tokens; only their hashes are stored."""

    def __init__(self, client: Client, settings: AuthSettings) -> None:
        self._client = client
        self._settings = settings

    async def session(self, user: User, *, description: str = "") -> IssuedToken:
        """A login session; its length is the setting's. Raises KubeError."""
        ttl = session_ttl(self._settings.number(names.SESSION_TTL))
        return await self._issue(session_draft(user, ttl=ttl, description=description), "token-", 5)

    async def kubeconfig(
        self,
        user: User,
        *,
        parent: Token | None = None,
        cluster: str = "",
        description: str = "",
        ttl: int = 0,
        kubeconfig: str = "",
    ) -> IssuedToken:
        """A token for a kubeconfig, for one cluster or for all; ttl in ms, clamped. Raises KubeError.

        It speaks for whoever signed in as the parent, without one for the local user; `kubeconfig` names the stored
        one that it goes with.
        """
        allowed = token_ttl(
            ttl,
            default_minutes=self._settings.number(names.KUBECONFIG_DEFAULT_TTL),
            max_minutes=self._settings.number(names.KUBECONFIG_MAX_TTL),
        )
        draft = kubeconfig_draft(
            parent or session_draft(user, ttl=0, description=""),
            ttl=allowed,
            cluster=cluster,
            description=description,
            kubeconfig=kubeconfig,
        )
        scope = f".{cluster}" if cluster else ""
        return await self._issue(draft, f"kubeconfig-{user.metadata.name}{scope}", 5)

    async def derived(
        self, parent: Token, *, ttl: int = 0, description: str = "", cluster: str = ""
    ) -> IssuedToken:
        """An API key; ttl in ms, clamped. It never reaches more than its parent. Raises KubeError."""
        allowed = token_ttl(
            ttl,
            default_minutes=self._settings.number(names.DEFAULT_TTL),
            max_minutes=self._settings.number(names.MAX_TTL),
        )
        draft = derived_draft(
            parent, ttl=allowed, description=description, cluster=parent.cluster_name or cluster
        )
        return await self._issue(draft, "token-", 5)

    async def _issue(self, draft: Token, prefix: str, length: int) -> IssuedToken:
        secret = new_secret()
        draft.token = hash_secret(secret)
        for _ in range(_NAME_ATTEMPTS):
            draft.metadata.name = prefix + random_text(length)
            # five characters collide now and then
            with contextlib.suppress(AlreadyExists):
                return IssuedToken(token=await self._client.create(TOKENS, draft), secret=secret)
        raise AuthError(f"no free name for a token after {_NAME_ATTEMPTS} attempts")


def is_session(token: Token) -> bool:
    """Whether a login made the token, so that idleness ends it and logout deletes it."""
    kind = token.metadata.labels.get(KIND_LABEL, "")
    return kind == SESSION or (not kind and not token.is_derived)
