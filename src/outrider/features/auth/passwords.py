"""Passwords: rules, hashes, and a pool that computes them off the event loop.

A stored password is the data of a Secret in namespace `cattle-local-user-passwords`, named after the user
(contract, auth-and-rbac §1.14): `password` (the derived key), `salt`, and the algorithm in annotation
`cattle.io/password-hash`. What we write is Argon2id (RFC 9106); what the reference wrote, PBKDF2 with
HMAC-SHA3-512, is verified and replaced at the next login. Its still older bcrypt hashes need a library that
we do not carry: such a user cannot sign in until an administrator sets a new password.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from outrider.features.auth.errors import Busy, PasswordRefused

NAMESPACE = "cattle-local-user-passwords"
ALGORITHM_ANNOTATION = "cattle.io/password-hash"
ARGON2ID = "argon2id"
PBKDF2 = "pbkdf2sha3512"

MAX_LENGTH = 1024
"""Characters; a bound on what an anonymous client can make us hash."""

_KEY_BYTES = 32
_PBKDF2_ITERATIONS = 210_000

T = TypeVar("T")


class Cost(msgspec.Struct, frozen=True):
    """Argon2id's parameters: KiB of memory, passes, lanes.

    32 MiB and three passes in one lane take 0.1 s of one core. That is above OWASP's floor (19 MiB, two
    passes), and two at once, the pool's width, fit beside the rest of the process. RFC 9106's larger sets buy
    little against an attacker who must first steal a Secret from etcd.
    """

    memory: int = 32 * 1024
    passes: int = 3
    lanes: int = 1

    def text(self) -> str:
        """As stored: `m=32768,t=3,p=1`."""
        return f"m={self.memory},t={self.passes},p={self.lanes}"


DEFAULT_COST = Cost()

# what is read from a Secret is computed, so it is bounded like any input
_MAX_COST = Cost(memory=256 * 1024, passes=16, lanes=16)


class PasswordHash(msgspec.Struct, frozen=True, kw_only=True):
    """A password as stored. `cost` is None for an algorithm whose cost is fixed."""

    algorithm: str
    key: bytes
    salt: bytes
    cost: Cost | None = None

    def __repr__(self) -> str:
        return f"PasswordHash({self.algorithm})"


def derive(password: str, cost: Cost = DEFAULT_COST) -> PasswordHash:
    """Hash a new password; about 0.1 s of CPU without the interpreter lock."""
    salt = os.urandom(16)
    return PasswordHash(algorithm=ARGON2ID, key=_argon2id(password, salt, cost), salt=salt, cost=cost)


def matches(password: str, stored: PasswordHash) -> bool:
    """Whether the password is the stored one; false too for an algorithm we cannot compute."""
    if len(password) > MAX_LENGTH:
        return False
    if stored.algorithm == ARGON2ID and stored.cost is not None:
        return hmac.compare_digest(_argon2id(password, stored.salt, stored.cost), stored.key)
    if stored.algorithm == PBKDF2:
        return hmac.compare_digest(_pbkdf2(password, stored.salt), stored.key)
    return False


def is_outdated(stored: PasswordHash, cost: Cost = DEFAULT_COST) -> bool:
    """Whether a login should replace the hash: another algorithm, or other parameters than today's."""
    return stored.algorithm != ARGON2ID or stored.cost != cost


def _argon2id(password: str, salt: bytes, cost: Cost) -> bytes:
    derivation = Argon2id(
        salt=salt, length=_KEY_BYTES, iterations=cost.passes, lanes=cost.lanes, memory_cost=cost.memory
    )
    return derivation.derive(_bytes(password))


def _pbkdf2(password: str, salt: bytes) -> bytes:
    return hashlib.pbkdf2_hmac("sha3_512", _bytes(password), salt, _PBKDF2_ITERATIONS, _KEY_BYTES)


def _bytes(password: str) -> bytes:
    # JSON may smuggle in lone surrogates, which strict UTF-8 refuses with the password in the exception
    return password.encode("utf-8", "surrogatepass")


def check_rules(password: str, *, username: str, min_length: int) -> None:
    """Raises PasswordRefused with the contract's text. Length counts characters, never below two."""
    least = max(2, min_length)
    if len(password) < least:
        raise PasswordRefused(f"Password must be at least {least} characters")
    if len(password) > MAX_LENGTH:
        raise PasswordRefused(f"Password must be at most {MAX_LENGTH} characters")
    if password == username:
        raise PasswordRefused("Password cannot be the same as the username")


def to_secret(user: str, user_uid: str, stored: PasswordHash) -> dict[str, Any]:
    """The Secret that keeps a user's password; it goes when the user goes."""
    data = {"password": stored.key, "salt": stored.salt}
    if stored.cost is not None:
        data["parameters"] = stored.cost.text().encode()
    owner = {"apiVersion": "management.cattle.io/v3", "kind": "User", "name": user, "uid": user_uid}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": user,
            "namespace": NAMESPACE,
            "annotations": {ALGORITHM_ANNOTATION: stored.algorithm},
            "ownerReferences": [owner],
        },
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def from_secret(secret: Mapping[str, Any]) -> PasswordHash | None:
    """The stored password; None when the Secret holds none that can be read, which refuses every password."""
    annotations = (secret.get("metadata") or {}).get("annotations") or {}
    algorithm = annotations.get(ALGORITHM_ANNOTATION, "")
    data = secret.get("data") or {}
    try:
        key, salt, parameters = (
            base64.b64decode(data.get(name, ""), validate=True) for name in ("password", "salt", "parameters")
        )
        cost = _parse_cost(parameters.decode("ascii")) if algorithm == ARGON2ID else None
    except (binascii.Error, KeyError, TypeError, ValueError):
        return None
    if len(key) != _KEY_BYTES or len(salt) < 8:
        return None
    return PasswordHash(algorithm=algorithm, key=key, salt=salt, cost=cost)


def _parse_cost(text: str) -> Cost:
    fields = dict(part.split("=", 1) for part in text.split(","))
    cost = Cost(memory=int(fields["m"]), passes=int(fields["t"]), lanes=int(fields["p"]))
    if not _is_sane(cost):
        raise ValueError("not Argon2id parameters that we would compute")
    return cost


def _is_sane(cost: Cost) -> bool:
    return (
        8 * cost.lanes <= cost.memory <= _MAX_COST.memory
        and 1 <= cost.passes <= _MAX_COST.passes
        and 1 <= cost.lanes <= _MAX_COST.lanes
    )


class PasswordPool:
    """Hashes in a few threads: a storm of logins costs bounded memory and leaves the loop free.

    width: how many at once (each takes `Cost.memory`); waiting: how many may queue before Busy is raised.
    """

    def __init__(self, *, width: int = 2, waiting: int = 64, cost: Cost = DEFAULT_COST) -> None:
        self._executor = ThreadPoolExecutor(max_workers=width, thread_name_prefix="password")
        self._room = width + waiting
        self._cost = cost
        self._decoy = PasswordHash(algorithm=ARGON2ID, key=bytes(_KEY_BYTES), salt=os.urandom(16), cost=cost)

    async def derive(self, password: str) -> PasswordHash:
        """Hash a new password. Raises Busy."""
        return await self.run(lambda: derive(password, self._cost))

    async def matches(self, password: str, stored: PasswordHash | None) -> bool:
        """Verify; without a stored hash the same time passes and the answer is no. Raises Busy."""
        hidden = stored if stored is not None and _is_computable(stored) else self._decoy
        result = await self.run(lambda: matches(password, hidden))
        return result and hidden is stored

    def is_outdated(self, stored: PasswordHash) -> bool:
        """Whether the hash should be replaced now that the password is at hand."""
        return is_outdated(stored, self._cost)

    async def run(self, work: Callable[[], T]) -> T:
        """Run an expensive computation in the pool. Raises Busy."""
        if self._room <= 0:
            raise Busy("too many passwords are being checked: try again in a few seconds")
        self._room -= 1
        future = asyncio.get_running_loop().run_in_executor(self._executor, work)
        # counted when the thread is done, not when a caller gave up waiting for it
        future.add_done_callback(self._release)
        return await asyncio.shield(future)

    def _release(self, future: "asyncio.Future[Any]") -> None:
        self._room += 1
        if not future.cancelled():
            future.exception()

    def close(self) -> None:
        """Stop the threads; waits for those at work."""
        self._executor.shutdown(wait=True, cancel_futures=True)


def _is_computable(stored: PasswordHash) -> bool:
    return stored.algorithm in (ARGON2ID, PBKDF2)
