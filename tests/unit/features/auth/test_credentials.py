import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.features.auth.credentials import Presented, parse


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("credential", "name", "secret", "is_basic"),
    [
        ("Bearer token-abcde:s3cret", "token-abcde", "s3cret", False),
        ("bEARER token-abcde:s3cret", "token-abcde", "s3cret", False),
        ("Bearer   token-abcde:s3cret ", "token-abcde", "s3cret", False),
        (basic("token-abcde:s3cret"), "token-abcde", "s3cret", True),
        (basic("admin:pass:word"), "admin", "pass:word", True),
        (basic("Ünal:pässword"), "Ünal", "pässword", True),
    ],
)
def test_forms_that_are_understood(credential, name, secret, is_basic):
    assert parse(credential) == Presented(name=name, secret=secret, basic=is_basic)


@pytest.mark.parametrize(
    "credential",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer eyJhbGciOi.eyJzdWIi.c2ln",
        "Bearer :secret",
        "Bearer name:",
        "Basic !!!",
        "Basic " + base64.b64encode(b"no-colon").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
        "Digest username=admin",
        "token-abcde:secret",
        "Bearer a:" + "x" * 9000,
    ],
)
def test_everything_else_is_nothing(credential):
    assert parse(credential) is None


@pytest.mark.parametrize(
    "credential",
    [
        "Bearer ext/../x:secret",
        "Bearer ext/:secret",
        "Bearer other/token-abcde:s",
        "Bearer a:b:c",
        "Bearer ../x:secret",
        f"Bearer {'n' * 254}:s",
    ],
)
def test_these_are_no_tokens(credential):
    presented = parse(credential)
    assert presented is not None
    assert not presented.may_be_token


@given(st.text(max_size=100))
def test_nothing_breaks_it(text):
    parse(text)
    parse("Bearer " + text)
    parse("Basic " + text)


def test_the_secret_stays_out_of_the_repr():
    assert "s3cret" not in repr(parse("Bearer token-abcde:s3cret"))


def test_a_token_of_the_extension_keeps_its_prefix():
    presented = parse("Bearer ext/token-abcde:secret")
    assert presented is not None
    assert presented.may_be_token
    assert (presented.name, presented.secret) == ("ext/token-abcde", "secret")
