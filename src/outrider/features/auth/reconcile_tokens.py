"""Deletes tokens that ended, and those of users and kubeconfigs that are gone; disables keys of disabled users."""

from collections.abc import Iterable
from typing import Any

from outrider.apis.ext.group import NAMESPACE
from outrider.apis.management.token import KUBECONFIG_LABEL, Token
from outrider.apis.management.user import USERS, User
from outrider.features.auth import settings as names
from outrider.features.auth.judgement import token_ends
from outrider.features.auth.settings import AuthSettings
from outrider.features.auth.stored_tokens import TokenStore
from outrider.features.auth.tokens import is_session
from outrider.kit.clock import Clock
from outrider.kube.builtin import CONFIGMAPS
from outrider.kube.client import Client
from outrider.kube.meta import ObjectKey
from outrider.runtime.controller import DONE, Result, requeue
from outrider.runtime.store import Lister

USER_INDEX = "user"
KUBECONFIG_INDEX = "kubeconfig"

_LONGEST_WAIT = 3600.0


class TokenReconciler:
    """One token a key."""

    def __init__(
        self,
        client: Client,
        tokens: Lister[Token],
        users: Lister[User],
        settings: AuthSettings,
        clock: Clock,
    ) -> None:
        self._client = client
        self._store = TokenStore(client)
        self._tokens = tokens
        self._users = users
        self._settings = settings
        self._clock = clock

    async def reconcile(self, key: ObjectKey) -> Result:
        """Delete, disable or look again when the token ends."""
        token = self._tokens.get(key)
        if token is None or token.is_deleting:
            return DONE
        ends = token_ends(token, idle_minutes=self._settings.number(names.IDLE_TTL))
        left = (ends - self._clock.now()).total_seconds() if ends is not None else None
        if (left is not None and left <= 0) or await self._is_orphan(token):
            await self._store.delete(token, unchanged=True)
            return DONE
        await self._follow_user(token)
        # a setting may shorten idle times, so a long wait is cut
        return DONE if left is None else requeue(min(left, _LONGEST_WAIT))

    async def _follow_user(self, token: Token) -> None:
        user = await self._user(token.user_id)
        if user is None or user.is_deleting or (user.enabled is False and is_session(token)):
            await self._store.delete(token, unchanged=True)
        elif user.enabled is False and token.enabled is not False:
            await self._store.disable(token)

    async def _is_orphan(self, token: Token) -> bool:
        kubeconfig = token.metadata.labels.get(KUBECONFIG_LABEL, "")
        # a Kubeconfig is there before its tokens, and what the API server says is never behind
        return bool(kubeconfig) and await self._client.get_or_none(CONFIGMAPS, kubeconfig, NAMESPACE) is None

    async def _user(self, name: str) -> User | None:
        user = self._users.get(ObjectKey("", name))
        if user is not None or not name:
            return user
        # the local copy of users may be behind that of tokens: ask before deleting
        return await self._client.get_or_none(USERS, name)


class UserToTokens:
    """Maps a user to the keys of its tokens."""

    def __init__(self, tokens: Lister[Token]) -> None:
        self._tokens = tokens

    def __call__(self, user: User) -> Iterable[ObjectKey]:
        """The keys of the user's tokens."""
        return [token.key for token in self._tokens.index(USER_INDEX, user.metadata.name)]


class KubeconfigToTokens:
    """Maps the ConfigMap of a kubeconfig to the keys of its tokens."""

    def __init__(self, tokens: Lister[Token]) -> None:
        self._tokens = tokens

    def __call__(self, stored: dict[str, Any]) -> Iterable[ObjectKey]:
        """The keys of the kubeconfig's tokens."""
        return [token.key for token in self._tokens.index(KUBECONFIG_INDEX, stored["metadata"]["name"])]
