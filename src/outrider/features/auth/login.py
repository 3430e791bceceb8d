"""Signing in with a local user's password, and changing passwords."""

import logging

from outrider.apis.management.setting import SETTINGS
from outrider.apis.management.user import USERS, User
from outrider.features.auth import settings as names
from outrider.features.auth.errors import AuthenticationFailed, Busy, PasswordRefused, UserDisabled
from outrider.features.auth.limiter import LoginLimiter
from outrider.features.auth.passwords import (
    NAMESPACE,
    PasswordHash,
    PasswordPool,
    check_rules,
    from_secret,
    to_secret,
)
from outrider.features.auth.settings import AuthSettings
from outrider.kube.builtin import SECRETS
from outrider.kube.client import Client
from outrider.kube.errors import KubeError, NotFound
from outrider.runtime.store import Lister

log = logging.getLogger(__name__)

USERNAME_INDEX = "username"


class LocalPasswords:
    """Checks and changes the passwords of local users; everything that guesses passes the limiter."""

    def __init__(
        self,
        *,
        client: Client,
        users: Lister[User],
        pool: PasswordPool,
        limiter: LoginLimiter,
        settings: AuthSettings,
    ) -> None:
        self._client = client
        self._users = users
        self._pool = pool
        self._limiter = limiter
        self._settings = settings

    async def authenticate(self, username: str, password: str, *, remote: str) -> User:
        """The user whose name and password these are.

        An unknown user, a wrong password and a user without one take the same time and raise the same
        AuthenticationFailed. Raises UserDisabled only after the right password; TooManyAttempts, Busy,
        KubeError.
        """
        attempt = self._limiter.begin(username, remote)
        try:
            user = self.by_username(username)
            stored = await self._stored(user)
            right = await self._pool.matches(password, stored)
        except (Busy, KubeError):
            attempt.withdrawn()
            raise
        if user is None or stored is None or not right:
            raise AuthenticationFailed
        attempt.succeeded()
        if user.enabled is False or user.is_deleting:
            raise UserDisabled("the user is disabled: ask an administrator to enable it")
        await self._renew(user, password, stored)
        return user

    def by_username(self, username: str) -> User | None:
        """The user of that name; of several, which validation should prevent, the one that came first."""
        found = self._users.index(USERNAME_INDEX, username) if username else []
        return min(
            found, key=lambda user: (str(user.metadata.creation_timestamp), user.metadata.name), default=None
        )

    async def change(self, user: User, *, current: str, new: str, remote: str) -> None:
        """Change one's own password. Raises PasswordRefused and what `authenticate` raises."""
        if not current:
            raise PasswordRefused("must specify current password")
        await self._prove(user, current, remote=remote)
        if new == current:
            raise PasswordRefused("The new password must not be the same as the current password")
        await self.set(user, new)

    async def _prove(self, user: User, password: str, *, remote: str) -> None:
        attempt = self._limiter.begin(user.username or user.metadata.name, remote)
        try:
            right = await self._pool.matches(password, await self._stored(user))
        except (Busy, KubeError):
            attempt.withdrawn()
            raise
        if not right:
            raise AuthenticationFailed
        attempt.succeeded()

    def check(self, password: str, *, username: str) -> None:
        """Raises PasswordRefused when the password breaks a rule."""
        check_rules(password, username=username, min_length=self._settings.number(names.PASSWORD_MIN_LENGTH))

    async def set(self, user: User, new: str, *, must_change: bool = False) -> None:
        """Give the user this password, unless it breaks a rule (PasswordRefused). Raises Busy, KubeError."""
        self.check(new, username=user.username)
        await self.store(user, new)
        if user.must_change_password != must_change:
            await self._client.patch(USERS, user.metadata.name, {"mustChangePassword": must_change})
        await self._end_first_login()

    async def store(self, user: User, password: str) -> None:
        """Hash and store a password as it is. Raises Busy, KubeError."""
        await self._write(user, await self._pool.derive(password))

    async def _end_first_login(self) -> None:
        # read before written: a setting that clients watch should not change at every password
        if self._settings.text(names.FIRST_LOGIN) == "false":
            return
        change = {"value": "false", "customized": True}
        try:
            await self._client.patch(SETTINGS, names.FIRST_LOGIN, change)
        except NotFound:
            await self._client.create(SETTINGS, {"metadata": {"name": names.FIRST_LOGIN}, **change})

    async def _stored(self, user: User | None) -> PasswordHash | None:
        # asked of the API server, not of a copy: a password that was just changed must not work any more.
        # An unknown user costs a question too.
        name = user.metadata.name if user is not None else "no-such-user"
        secret = await self._client.get_or_none(SECRETS, name, NAMESPACE)
        if user is None or secret is None:
            return None
        stored = from_secret(secret)
        if stored is None:
            log.warning("the stored password of user %s cannot be read: set a new one", name)
        return stored

    async def _renew(self, user: User, password: str, stored: PasswordHash) -> None:
        if not self._pool.is_outdated(stored):
            return
        try:
            await self.store(user, password)
        except (Busy, KubeError) as error:
            log.warning("the password of user %s keeps its older hash for now: %s", user.metadata.name, error)

    async def _write(self, user: User, stored: PasswordHash) -> None:
        secret = to_secret(user.metadata.name, user.metadata.uid, stored)
        await self._client.apply(SECRETS, secret)
