import asyncio
import base64
import hashlib
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.features.auth.errors import Busy, PasswordRefused
from outrider.features.auth.passwords import (
    ALGORITHM_ANNOTATION,
    NAMESPACE,
    PBKDF2,
    Cost,
    PasswordHash,
    PasswordPool,
    check_rules,
    derive,
    from_secret,
    is_outdated,
    matches,
    to_secret,
)

CHEAP = Cost(memory=64, passes=1, lanes=1)
PASSWORD = "correct horse battery"


def legacy(password: str = PASSWORD) -> PasswordHash:
    salt = bytes(32)
    key = hashlib.pbkdf2_hmac("sha3_512", password.encode(), salt, 210_000, 32)
    return PasswordHash(algorithm=PBKDF2, key=key, salt=salt)


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
def test_only_the_same_password_matches(password, other):
    stored = derive(password, CHEAP)
    assert matches(password, stored)
    assert matches(other, stored) == (other == password)


def test_surrogates_hash_instead_of_failing():
    assert matches("\ud800abc", derive("\ud800abc", CHEAP))


def test_salts_differ():
    assert derive(PASSWORD, CHEAP).key != derive(PASSWORD, CHEAP).key


def test_the_references_hash_verifies_and_is_outdated():
    stored = legacy()
    assert matches(PASSWORD, stored)
    assert not matches("wrong", stored)
    assert is_outdated(stored)


def test_other_parameters_are_outdated():
    assert is_outdated(derive(PASSWORD, CHEAP))
    assert not is_outdated(derive(PASSWORD, CHEAP), CHEAP)


def test_bcrypt_refuses_every_password():
    assert not matches(PASSWORD, PasswordHash(algorithm="bcrypt", key=bytes(32), salt=bytes(16)))


def test_a_giant_password_is_refused_unhashed():
    assert not matches("x" * 1025, derive(PASSWORD, CHEAP))


@pytest.mark.parametrize("stored", [derive(PASSWORD, CHEAP), legacy()])
def test_a_secret_keeps_the_password(stored):
    secret = to_secret("user-abcde", "uid-1", stored)
    assert secret["metadata"]["namespace"] == NAMESPACE
    assert secret["metadata"]["name"] == "user-abcde"
    assert secret["metadata"]["annotations"][ALGORITHM_ANNOTATION] == stored.algorithm
    assert secret["metadata"]["ownerReferences"][0]["uid"] == "uid-1"
    assert from_secret(secret) == stored


@pytest.mark.parametrize(
    "damage",
    [
        {"password": "!!"},
        {"password": base64.b64encode(b"short").decode()},
        {"salt": ""},
        {"salt": None},
        {"parameters": ""},
        {"parameters": base64.b64encode(b"m=64,t=1").decode()},
        {"parameters": base64.b64encode(b"m=9999999999,t=1,p=1").decode()},
        {"parameters": base64.b64encode(b"m=64,t=9999999,p=1").decode()},
        {"parameters": base64.b64encode(b"m=64,t=0,p=1").decode()},
        {"parameters": base64.b64encode("m=٣,t=1,p=1".encode()).decode()},
    ],
)
def test_a_damaged_secret_holds_no_password(damage):
    secret = to_secret("u", "uid", derive(PASSWORD, CHEAP))
    secret["data"] |= damage
    assert from_secret(secret) is None


@pytest.mark.parametrize(
    "secret", [{}, {"metadata": None, "data": None}, {"metadata": {"annotations": None}}]
)
def test_an_empty_secret_holds_no_password(secret):
    assert from_secret(secret) is None


@pytest.mark.parametrize(
    ("password", "minimum", "message"),
    [
        ("elevenchars", 12, "Password must be at least 12 characters"),
        ("x", 0, "Password must be at least 2 characters"),
        ("x" * 1025, 12, "Password must be at most 1024 characters"),
        ("administrator", 12, "Password cannot be the same as the username"),
    ],
)
def test_rules_name_what_is_wrong(password, minimum, message):
    with pytest.raises(PasswordRefused, match=message):
        check_rules(password, username="administrator", min_length=minimum)


def test_length_counts_characters_not_bytes():
    check_rules("пароль-паро!", username="u", min_length=12)
    with pytest.raises(PasswordRefused):
        check_rules("пароль", username="u", min_length=12)


def test_the_key_stays_out_of_the_repr():
    assert repr(legacy()) == f"PasswordHash({PBKDF2})"


@pytest.fixture
def pool():
    pool = PasswordPool(width=2, waiting=2, cost=CHEAP)
    yield pool
    pool.close()


async def test_the_pool_verifies(pool):
    stored = await pool.derive(PASSWORD)
    assert await pool.matches(PASSWORD, stored)
    assert not await pool.matches("wrong", stored)
    assert not pool.is_outdated(stored)
    assert pool.is_outdated(legacy())


async def test_no_hash_means_no_whatever_the_password(pool):
    assert not await pool.matches("", None)
    assert not await pool.matches(PASSWORD, None)
    assert not await pool.matches(PASSWORD, PasswordHash(algorithm="bcrypt", key=bytes(32), salt=bytes(16)))


async def test_an_unknown_user_costs_what_a_known_one_does():
    # one thread, so that its own CPU time is that of the check
    pool = PasswordPool(width=1, cost=Cost(memory=32 * 1024, passes=2))
    stored = await pool.derive(PASSWORD)

    async def cpu(hashed: PasswordHash | None) -> float:
        before = await pool.run(time.thread_time)
        await pool.matches("wrong", hashed)
        return await pool.run(time.thread_time) - before

    known, unknown = await cpu(stored), await cpu(None)
    pool.close()
    assert 0.5 * known < unknown < 2 * known


async def test_more_than_the_queue_holds_is_refused_and_room_comes_back(pool):
    gate = threading.Event()
    waiting = [asyncio.create_task(pool.run(gate.wait)) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(Busy, match="try again"):
        await pool.derive(PASSWORD)
    # a caller that gives up does not make room: the thread is still at work
    waiting[0].cancel()
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await pool.derive(PASSWORD)
    gate.set()
    await asyncio.gather(*waiting, return_exceptions=True)
    await asyncio.sleep(0.05)
    assert await pool.derive(PASSWORD)


async def test_the_loop_goes_on_while_a_password_is_hashed():
    pool = PasswordPool(width=1, cost=Cost(memory=64 * 1024, passes=3))
    work = asyncio.create_task(pool.derive(PASSWORD))
    turns = 0
    while not work.done():
        await asyncio.sleep(0.001)
        turns += 1
    pool.close()
    assert turns > 10
