from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.agent.accounts import account_name, grant_for, rules, secret_name
from outrider.agent.claims import AUTOMATIC_GROUPS, MAX_CLAIM, parse_claim
from outrider.agent.guard import user_of
from outrider.agent.proof import header_block
from outrider.kit.http1 import well_formed
from outrider.kube.identity import Identity
from outrider.tunnel.exchange import CredentialError

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"


def blob(user: str = "u-abcde", groups: tuple[str, ...] = (), **extra: tuple[str, ...]) -> bytes:
    return msgspec.json.encode({"user": user, "groups": groups, "extra": extra})


def test_an_ordinary_claim_is_accepted() -> None:
    identity = parse_claim(
        blob(groups=("dev", *AUTOMATIC_GROUPS), principalid=("local://u-abcde",), username=("Ada Ünal",))
    )
    assert identity.user == "u-abcde"
    assert identity.extra["username"] == ("Ada Ünal",)


@pytest.mark.parametrize(
    "claim",
    [
        blob("system:admin"),
        blob("system:serviceaccount:kube-system:default"),
        blob(""),
        blob("../../etc"),
        blob("U-Upper"),
        blob("u-x\r\nImpersonate-Group: system:masters"),
        blob("u-x\x00"),
        blob("a" * 201),
        blob(groups=("system:masters",)),
        blob(groups=("dev", "system:nodes")),
        blob(groups=("system:masters ",)),
        blob(groups=(" system:masters",)),
        blob(groups=("\u00a0system:masters",)),
        blob(groups=("dev\r\nImpersonate-Group: system:masters",)),
        blob(groups=("dev\n",)),
        blob(groups=("dev\x85x",)),
        blob(groups=("",)),
        blob(groups=("g" * 1025,)),
        blob(scopes=("all",)),
        blob(**{"x\r\ny": ("z",)}),
        blob(username=("a\r\nAuthorization: Bearer x",)),
        blob(username=("",)),
        blob(groups=("x" * 1000,) * (MAX_CLAIM // 1000)),
        b"",
        b"null",
        b"[]",
        b'{"user": 1}',
        b'{"user": "u-x", "groups": "system:masters"}',
        b'{"user": "u-x", "groups": ["\\ud800"]}',
        b"[" * 100_000,
    ],
)
def test_hostile_claims_are_refused(claim: bytes) -> None:
    with pytest.raises(CredentialError):
        parse_claim(claim)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_parser(data: bytes) -> None:
    with contextlib.suppress(CredentialError):
        parse_claim(data)


@given(
    st.lists(st.text(max_size=20), max_size=4),
    st.dictionaries(
        st.sampled_from(["principalid", "username", "requesthost", "other"]), st.lists(st.text())
    ),
)
def test_what_is_accepted_is_exactly_its_own_header_lines(
    groups: list[str], extra: dict[str, list[str]]
) -> None:
    try:
        identity = parse_claim(msgspec.json.encode({"user": "u-x", "groups": groups, "extra": extra}))
    except CredentialError:
        return
    block = header_block(JWT, identity)
    assert well_formed(block)
    lines = block.decode().split("\r\n")
    assert lines.pop() == ""
    values = sum(map(len, extra.values()))
    assert len(lines) == 2 + len(groups) + values
    assert [line.removeprefix("Impersonate-Group: ") for line in lines[2 : 2 + len(groups)]] == groups
    assert not any(group.startswith("system:") and group not in AUTOMATIC_GROUPS for group in groups)


@pytest.mark.parametrize("token", ["", "a b", "x" * 20 + "\r\nImpersonate-User: admin", "\u00e9" * 20])
def test_a_token_that_is_none_makes_no_header(token: str) -> None:
    with pytest.raises(CredentialError) as caught:
        header_block(token, Identity(user="u-x"))
    assert not token or token not in str(caught.value)


def test_a_role_names_everything_but_tokens_and_hosts() -> None:
    identity = Identity(
        user="u-x",
        groups=("b", "a"),
        extra={"principalid": ("p",), "requesttokenid": ("t",), "requesthost": ("h",)},
    )
    made = rules("u-x", grant_for([identity]))
    free = [rule for rule in made if "resourceNames" not in rule]
    assert [rule["resources"] for rule in free] == [["userextras/requesttokenid", "userextras/requesthost"]]
    assert ["userextras/username"] not in [rule["resources"] for rule in made]
    groups = next(rule for rule in made if rule["resources"] == ["groups"])
    assert groups["resourceNames"] == ["a", "b", "system:authenticated", "system:cattle:authenticated"]


@given(st.from_regex(r"[a-z0-9][-a-z0-9.]{0,30}[a-z0-9]", fullmatch=True))
def test_the_user_is_found_again_from_each_name(user: str) -> None:
    assert user_of(account_name(user)) == user
    assert user_of(secret_name(user)) == user


def test_foreign_names_belong_to_nobody() -> None:
    assert user_of("cluster-admin") == ""
