import base64
import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.features.auth.secrets import ALPHABET, hash_secret, new_secret, parse_hash, random_text, verify

SECRET = "b" * 54
SALT = bytes(range(8))


def raw(data: bytes) -> str:
    return base64.b64encode(data).rstrip(b"=").decode()


V1 = "$1:{}:15:8:1:{}".format(
    SALT.hex(),
    base64.b64encode(
        hashlib.scrypt(SECRET.encode(), salt=SALT, n=2**15, r=8, p=1, dklen=64, maxmem=2**26)
    ).decode(),
)
V2_DIGEST = hashlib.sha256(SALT + SECRET.encode()).digest()
V2 = f"$2:{base64.b64encode(SALT).decode()}:{base64.b64encode(V2_DIGEST).decode()}"
V3 = f"$3:1:{raw(SALT)}:{raw(hashlib.sha3_512(SALT + SECRET.encode()).digest())}"


def test_a_secret_has_the_contracts_form():
    assert re.fullmatch(f"[{ALPHABET}]{{54}}", new_secret())
    assert len({new_secret() for _ in range(100)}) == 100
    assert re.fullmatch(f"[{ALPHABET}]{{5}}", random_text(5))


def test_what_we_write_is_version_3_and_salted():
    written = hash_secret(SECRET)
    assert re.fullmatch(r"\$3:1:[A-Za-z0-9+/]{11}:[A-Za-z0-9+/]{86}", written)
    assert written != hash_secret(SECRET)
    assert verify(SECRET, parse_hash(written))
    assert SECRET not in written


@pytest.mark.parametrize("stored", [V1, V2, V3])
def test_all_versions_verify(stored):
    parsed = parse_hash(stored)
    assert verify(SECRET, parsed)
    assert not verify(SECRET[:-1] + "c", parsed)
    assert not verify("", parsed)


def test_only_scrypt_needs_a_thread():
    assert [parse_hash(stored).is_expensive for stored in (V1, V2, V3)] == [True, False, False]


@pytest.mark.parametrize(
    "stored",
    [
        "",
        SECRET,  # stored in the clear: never accepted as a hash
        "$",
        "$4:1:a:b",
        "$3:2:AAECAwQFBgc:" + "A" * 86,
        "$3:1:AAECAwQFBgc:short",
        "$3:1::" + "A" * 86,
        "$2:AAECAwQFBgc=:!!!!",
        V1.replace(":15:", ":30:"),  # a cost that would take gigabytes
        V1.replace(SALT.hex(), "zz"),
    ],
)
def test_anything_else_is_no_hash(stored):
    assert parse_hash(stored) is None


@given(st.text(max_size=200))
def test_parsing_never_fails_and_other_secrets_never_match(text):
    parse_hash(text)
    parse_hash("$" + text)
    assert verify(text, parse_hash(V3)) == (text == SECRET)


def test_a_hash_shows_neither_salt_nor_digest():
    assert repr(parse_hash(V3)) == "SecretHash(version=3)"
