import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.kube.identity import Identity
from outrider.link.claims import ClaimError, claim_of, decode_claim, encode_claim, put_claim
from outrider.link.messages import Claim

TEXT = st.text(max_size=30)
IDENTITIES = st.builds(
    Identity,
    user=TEXT,
    groups=st.lists(TEXT, max_size=4).map(tuple),
    extra=st.dictionaries(TEXT, st.lists(TEXT, max_size=2).map(tuple), max_size=3),
)


@given(st.builds(Claim, identity=st.none() | IDENTITIES, token=TEXT, user=TEXT, host=TEXT, remote=TEXT))
def test_a_claim_survives_the_header(claim):
    value = encode_claim(claim)
    assert value.isascii()
    assert not set(value) & set(" \r\n\t=+/")
    assert decode_claim(value) == claim


@given(st.text(max_size=300))
def test_anything_else_is_a_claim_error(value):
    with contextlib.suppress(ClaimError):
        assert isinstance(decode_claim(value), Claim)


@pytest.mark.parametrize("value", ["", "????", "bnVsbA", "AAAA", encode_claim(Claim())[:-1]])
def test_malformed_headers_are_claim_errors(value):
    with pytest.raises(ClaimError, match="not a base64url JSON claim"):
        decode_claim(value)


def test_a_giant_header_is_refused():
    with pytest.raises(ClaimError, match="longer than"):
        decode_claim("A" * 300_000)


def test_a_scope_without_claim_is_anonymous():
    scope: dict = {}
    assert claim_of(scope).identity is None
    claim = Claim(identity=Identity("u", (), {}), token="t")
    put_claim(scope, claim)
    assert claim_of(scope) is claim
