"""Secrets of tokens: how they are made, stored as hashes and compared (contract, auth-and-rbac §1.5)."""

import base64
import binascii
import hashlib
import hmac
import os
import secrets

import msgspec

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
SECRET_LENGTH = 54
MAX_SECRET = 256
"""Characters of a presented secret; longer ones are refused unread."""

_SALT_BYTES = 8
_SCRYPT_MEMORY = 64 * 1024 * 1024


class SecretHash(msgspec.Struct, frozen=True):
    """A parsed hash: the version says the algorithm (1 scrypt, 2 SHA-256, 3 SHA3-512)."""

    version: int
    salt: bytes
    digest: bytes

    @property
    def is_expensive(self) -> bool:
        """Whether verifying belongs into a thread: scrypt takes 32 MiB and 0.1 s, the others microseconds."""
        return self.version == 1

    def __repr__(self) -> str:
        return f"SecretHash(version={self.version})"


def new_secret() -> str:
    """54 characters of the contract's alphabet: 256 bits."""
    return random_text(SECRET_LENGTH)


def random_text(length: int) -> str:
    """Unguessable characters of the alphabet."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def hash_secret(secret: str) -> str:
    """The newest form: `$3:1:<salt>:<sha3-512(salt‖secret)>`, base64 without padding."""
    salt = os.urandom(_SALT_BYTES)
    return f"$3:1:{_raw_b64(salt)}:{_raw_b64(_sha3(salt, secret))}"


def parse_hash(text: str) -> SecretHash | None:
    """A stored hash of any version; None when it is none, as a secret stored in the clear is."""
    if not text.startswith("$"):
        return None
    version, *fields = text[1:].split(":")
    try:
        match version, fields:
            case "1", [salt, "15", "8", "1", digest]:
                return _checked(1, bytes.fromhex(salt), _b64(digest), 64)
            case "2", [salt, digest]:
                return _checked(2, _b64(salt), _b64(digest), 32)
            case "3", ["1", salt, digest]:
                return _checked(3, _b64(salt), _b64(digest), 64)
    except (binascii.Error, ValueError):
        return None
    return None


def verify(secret: str, stored: SecretHash) -> bool:
    """Whether the secret has this hash, compared in constant time."""
    if not secret or len(secret) > MAX_SECRET or not secret.isascii():
        return False
    return hmac.compare_digest(_digest(secret, stored), stored.digest)


def _digest(secret: str, stored: SecretHash) -> bytes:
    if stored.version == 1:
        return hashlib.scrypt(
            secret.encode(), salt=stored.salt, n=2**15, r=8, p=1, dklen=64, maxmem=_SCRYPT_MEMORY
        )
    if stored.version == 2:
        return hashlib.sha256(stored.salt + secret.encode()).digest()
    return _sha3(stored.salt, secret)


def _sha3(salt: bytes, secret: str) -> bytes:
    return hashlib.sha3_512(salt + secret.encode()).digest()


def _checked(version: int, salt: bytes, digest: bytes, size: int) -> SecretHash | None:
    return SecretHash(version, salt, digest) if len(digest) == size and salt else None


def _raw_b64(value: bytes) -> str:
    return base64.b64encode(value).rstrip(b"=").decode("ascii")


def _b64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
