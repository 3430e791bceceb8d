"""The first administrator on a new installation, and on one whose first start was interrupted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from outrider.apis.management.global_role_binding import GLOBAL_ROLE_BINDINGS
from outrider.apis.management.setting import SETTINGS
from outrider.apis.management.user import USERS
from outrider.features.auth.bootstrap import (
    ADMIN_LABEL,
    ADMIN_VALUE,
    GUARD,
    NAMESPACE,
    SECRET,
    Bootstrap,
    admin_name,
    bootstrap_password,
    find_admin,
)
from outrider.features.auth.errors import InitializationIncomplete
from outrider.features.auth.limiter import LoginLimiter
from outrider.features.auth.login import USERNAME_INDEX, LocalPasswords
from outrider.features.auth.passwords import NAMESPACE as PASSWORDS
from outrider.features.auth.passwords import PasswordPool
from outrider.features.auth.settings import AuthSettings
from outrider.kit.clock import SystemClock
from outrider.kube.builtin import CLUSTERROLEBINDINGS, CONFIGMAPS, SECRETS
from outrider.kube.client import Client
from outrider.kube.errors import TransportError
from outrider.runtime.store import Store
from tests.integration.auth.conftest import CHEAP


class Start:
    """One start of a server with the given environment."""

    def __init__(self, client: Client, environ: dict[str, str]) -> None:
        self.client = client
        self.pool = PasswordPool(cost=CHEAP)
        self.users: Store[Any] = Store({USERNAME_INDEX: lambda user: [user.username]})
        settings = AuthSettings(Store({}), environ)
        self.passwords = LocalPasswords(
            client=client,
            users=self.users,
            pool=self.pool,
            limiter=LoginLimiter(SystemClock()),
            settings=settings,
        )
        self.bootstrap = Bootstrap(client, self.passwords, settings, environ)

    async def run(self) -> None:
        await self.bootstrap.run()

    async def accepts(self, password: str) -> bool:
        for user in (await self.client.list(USERS)).items:
            self.users.put(user.key, user)
        try:
            await self.passwords.authenticate("admin", password, remote="192.0.2.1")
        except Exception:
            return False
        return True


@pytest.fixture
async def empty(admin: Client, crds: None) -> AsyncIterator[Client]:
    """An installation without an administrator; afterwards none again."""
    await forget(admin)
    yield admin
    await forget(admin)


async def forget(client: Client) -> None:
    await client.delete_if_exists(SECRETS, SECRET, NAMESPACE)
    await client.delete_if_exists(CONFIGMAPS, GUARD, NAMESPACE)
    for user in (await client.list(USERS, labels=f"{ADMIN_LABEL}={ADMIN_VALUE}")).items:
        name = user.metadata.name
        await client.delete_if_exists(SECRETS, name, PASSWORDS)
        await client.delete_if_exists(CLUSTERROLEBINDINGS, f"globaladmin-{name}")
        await client.delete_if_exists(USERS, name)


@pytest.fixture
def start(empty: Client):
    starts: list[Start] = []

    def make(**environ: str) -> Start:
        starts.append(Start(empty, environ))
        return starts[-1]

    yield make
    for one in starts:
        one.pool.close()


async def test_a_given_password_needs_no_change(start, empty):
    one = start(CATTLE_BOOTSTRAP_PASSWORD="given-password")
    await one.run()
    user = await find_admin(empty)
    assert user is not None
    assert user.metadata.name.startswith("user-")
    assert (user.username, user.display_name) == ("admin", "Default Admin")
    assert user.must_change_password is False
    assert user.principal_ids == [f"local://{user.metadata.name}"]
    assert await one.accepts("given-password")
    assert not await one.accepts("another")
    binding = await empty.get(CLUSTERROLEBINDINGS, f"globaladmin-{user.metadata.name}")
    (given,) = [
        one for one in (await empty.list(GLOBAL_ROLE_BINDINGS)).items if one.user_name == user.metadata.name
    ]
    assert given.global_role_name == "admin"
    assert binding["roleRef"]["name"] == "cluster-admin"
    assert binding["metadata"]["labels"][ADMIN_LABEL] == ADMIN_VALUE
    assert [subject["name"] for subject in binding["subjects"]] == [user.metadata.name]


@pytest.mark.parametrize("environ", [{}, {"OUTRIDER_BOOTSTRAP_PASSWORD": "admin"}])
async def test_a_generated_or_well_known_password_must_be_changed(start, empty, environ):
    one = start(**environ)
    await one.run()
    user = await find_admin(empty)
    assert user is not None
    assert user.must_change_password is True
    password = await bootstrap_password(empty)
    assert await one.accepts(password)
    assert password == environ.get("OUTRIDER_BOOTSTRAP_PASSWORD", password)
    assert environ or len(password) == 20


async def test_a_second_start_changes_nothing(start, empty):
    await start().run()
    before = await find_admin(empty), await bootstrap_password(empty)
    await start(CATTLE_BOOTSTRAP_PASSWORD="too-late").run()
    assert (await find_admin(empty), await bootstrap_password(empty)) == before
    users = (await empty.list(USERS, labels=f"{ADMIN_LABEL}={ADMIN_VALUE}")).items
    assert len(users) == 1


async def test_a_deleted_administrator_does_not_come_back(start, empty):
    await start().run()
    user = await find_admin(empty)
    assert user is not None
    await empty.delete(USERS, user.metadata.name)
    await start().run()
    assert await find_admin(empty) is None


class Dying(Client):
    """A client whose process dies after so many writes."""

    def __init__(self, inner: Client, writes: int) -> None:
        super().__init__(inner._transport, max_retries=0)
        self.left = writes

    async def _send(self, method: str, *args: Any, **kwargs: Any) -> Any:
        if method != "GET":
            if self.left == 0:
                raise TransportError("the process died")
            self.left -= 1
        return await super()._send(method, *args, **kwargs)


@pytest.mark.parametrize("writes", range(9))
async def test_an_interrupted_start_is_finished_by_the_next(start, empty, writes):
    broken = Start(Dying(empty, writes), {})
    outcome = await asyncio.gather(broken.run(), return_exceptions=True)
    broken.pool.close()
    one = start()
    await one.run()
    users = (await empty.list(USERS, labels=f"{ADMIN_LABEL}={ADMIN_VALUE}")).items
    assert len(users) == 1, outcome
    assert await one.accepts(await bootstrap_password(empty))
    await empty.get(CLUSTERROLEBINDINGS, f"globaladmin-{users[0].metadata.name}")
    await empty.get(CONFIGMAPS, GUARD, NAMESPACE)


async def test_two_starts_at_once_make_one_administrator(start, empty):
    await asyncio.gather(*(start().run() for _ in range(4)))
    users = (await empty.list(USERS, labels=f"{ADMIN_LABEL}={ADMIN_VALUE}")).items
    assert len(users) == 1
    assert await start().accepts(await bootstrap_password(empty))


async def test_somebody_else_of_that_name_gets_no_rights(start, empty):
    one = start()
    await one.bootstrap._ensure_namespaces()
    password = await one.bootstrap._ensure_password()
    name = admin_name(password.uid)
    await empty.create(USERS, {"metadata": {"name": name}, "username": "mallory"})
    with pytest.raises(InitializationIncomplete, match="in the way"):
        await one.run()
    assert await empty.get_or_none(CLUSTERROLEBINDINGS, f"globaladmin-{name}") is None
    await empty.delete(USERS, name)


async def test_no_default_admin(start, empty):
    await start(CATTLE_NO_DEFAULT_ADMIN="true").run()
    assert await find_admin(empty) is None
    assert await bootstrap_password(empty) == ""


async def test_an_empty_bootstrap_secret_says_what_to_do(start, empty):
    await empty.create(
        SECRETS, {"metadata": {"name": SECRET, "namespace": NAMESPACE}, "data": {"bootstrapPassword": ""}}
    )
    with pytest.raises(InitializationIncomplete, match="set one or delete the Secret"):
        await start().run()


async def test_reset_password(start, empty):
    one = start(CATTLE_BOOTSTRAP_PASSWORD="forgotten")
    with pytest.raises(InitializationIncomplete, match="ensure-default-admin"):
        await one.bootstrap.reset_password()
    await one.run()
    password = await one.bootstrap.reset_password()
    assert await one.accepts(password)
    assert not await one.accepts("forgotten")
    user = await find_admin(empty)
    assert user is not None
    assert user.must_change_password is True


async def test_ensure_default_admin_gives_rights_back(start, empty):
    one = start()
    await one.run()
    user = await find_admin(empty)
    assert user is not None
    await empty.delete(CLUSTERROLEBINDINGS, f"globaladmin-{user.metadata.name}")
    await one.bootstrap.ensure_default_admin()
    await empty.get(CLUSTERROLEBINDINGS, f"globaladmin-{user.metadata.name}")


async def test_first_login_ends_with_the_first_chosen_password(start, empty):
    one = start(CATTLE_BOOTSTRAP_PASSWORD="given-password")
    await one.run()
    user = await find_admin(empty)
    assert user is not None
    await one.passwords.set(user, "a chosen password")
    assert (await empty.get(SETTINGS, "first-login")).value == "false"
