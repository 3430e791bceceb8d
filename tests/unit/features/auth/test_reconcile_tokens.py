from datetime import timedelta
from typing import Any

import msgspec
import pytest

from outrider.apis.management.token import TOKENS, Token
from outrider.apis.management.user import USERS, User
from outrider.features.auth.reconcile_tokens import USER_INDEX, TokenReconciler, UserToTokens
from outrider.features.auth.settings import AuthSettings
from outrider.kube.client import Client
from outrider.kube.meta import ObjectKey
from outrider.runtime.controller import DONE, requeue
from outrider.runtime.store import Store
from tests.support.clock import FakeClock
from tests.support.fake_api import FakeApi
from tests.unit.features.auth.samples import HOUR, NOW, a_token, a_user


class Rig:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.api = FakeApi(TOKENS, USERS)
        self.tokens: Store[Token] = Store({USER_INDEX: lambda token: [token.user_id]})
        self.users: Store[User] = Store({})
        client = Client(self.api, max_retries=0)
        settings = AuthSettings(Store({}), {})
        self.reconciler = TokenReconciler(client, self.tokens, self.users, settings, self.clock)

    def has(self, token: Token) -> ObjectKey:
        fields = msgspec.to_builtins(token)
        stored = self.api.put(TOKENS, token.metadata.name, **{**fields, "metadata": {}})
        token.metadata.uid = stored["metadata"]["uid"]
        token.metadata.resource_version = stored["metadata"]["resourceVersion"]
        self.tokens.put(token.key, token)
        return token.key

    def knows(self, user: User) -> None:
        self.users.put(user.key, user)

    def stored(self, key: ObjectKey) -> dict[str, Any] | None:
        return self.api.objects.get(("tokens", "", key.name))


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_a_token_is_looked_at_again_when_it_ends(rig):
    rig.knows(a_user())
    key = rig.has(a_token(ttl=HOUR // 2))
    assert await rig.reconciler.reconcile(key) == requeue(1800)
    assert rig.stored(key) is not None
    await rig.clock.advance(1800)
    assert await rig.reconciler.reconcile(key) == DONE
    assert rig.stored(key) is None


async def test_long_waits_are_cut_and_endless_tokens_left_alone(rig):
    rig.knows(a_user())
    assert await rig.reconciler.reconcile(rig.has(a_token("token-long", ttl=900 * HOUR))) == requeue(3600)
    assert await rig.reconciler.reconcile(rig.has(a_token("token-ever", ttl=0))) == DONE


async def test_an_idle_session_is_deleted(rig):
    rig.knows(a_user())
    seen = (NOW - timedelta(minutes=961)).isoformat()
    key = rig.has(a_token(kind="session", ttl=900 * HOUR, activity_last_seen_at=seen))
    await rig.reconciler.reconcile(key)
    assert rig.stored(key) is None


async def test_tokens_of_a_user_that_is_gone_are_deleted(rig):
    key = rig.has(a_token())
    await rig.reconciler.reconcile(key)
    assert rig.stored(key) is None


async def test_a_copy_of_users_that_lags_deletes_nothing(rig):
    rig.api.put(USERS, "user-abcde", username="jane")
    key = rig.has(a_token())
    await rig.reconciler.reconcile(key)
    assert rig.stored(key) is not None


async def test_a_disabled_user_loses_sessions_and_its_keys_are_disabled(rig):
    rig.knows(a_user(enabled=False))
    session = rig.has(a_token("token-sess", kind="session"))
    key = rig.has(a_token("token-key"))
    await rig.reconciler.reconcile(session)
    await rig.reconciler.reconcile(key)
    assert rig.stored(session) is None
    stored = rig.stored(key)
    assert stored is not None
    assert stored["enabled"] is False


async def test_what_is_gone_or_going_is_left_alone(rig):
    assert await rig.reconciler.reconcile(ObjectKey("", "token-none")) == DONE
    token = a_token()
    token.metadata.deletion_timestamp = NOW
    key = rig.has(token)
    assert await rig.reconciler.reconcile(key) == DONE
    assert rig.stored(key) is not None


def test_a_user_concerns_its_tokens(rig):
    rig.has(a_token("token-1"))
    rig.has(a_token("token-2", user_id="user-other"))
    assert list(UserToTokens(rig.tokens)(a_user())) == [ObjectKey("", "token-1")]
