from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.kube.identity import Identity, impersonation_headers

TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def test_user_groups_and_extras_become_headers_in_order() -> None:
    identity = Identity(
        "u-x7k2", ("dev", "ops"), {"principalid": ("local://u-x7k2",), "Acme.io/Team": ("a", "b")}
    )
    assert impersonation_headers(identity) == [
        ("Impersonate-User", "u-x7k2"),
        ("Impersonate-Group", "dev"),
        ("Impersonate-Group", "ops"),
        ("Impersonate-Extra-principalid", "local://u-x7k2"),
        ("Impersonate-Extra-acme.io%2fteam", "a"),
        ("Impersonate-Extra-acme.io%2fteam", "b"),
    ]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_extra_key_is_a_legal_header_name_and_comes_back_lower_case(key: str) -> None:
    [_, (name, _)] = impersonation_headers(Identity("u", extra={key: ("v",)}))
    assert TOKEN.issuperset(name)
    # The receiver lower-cases the header's name, then decodes it.
    assert unquote(name.lower().removeprefix("impersonate-extra-")) == key.lower()


@given(st.text())
def test_a_name_is_carried_unchanged_or_refused(name: str) -> None:
    try:
        [(_, value)] = impersonation_headers(Identity(name))
    except ValueError:
        return
    assert value == name
    # What any HTTP implementation could take for the end of a line, or trim.
    assert not set(value) & set(map(chr, [*range(32), 127]))
    assert value == value.strip(" \t")


@pytest.mark.parametrize(
    "identity",
    [
        Identity(""),
        Identity("a\r\nImpersonate-Group: system:masters"),
        Identity("a\nb"),
        Identity("a\0b"),
        Identity(" admin"),
        Identity("admin\t"),
        Identity("u", ("",)),
        Identity("u", ("g\r\nX: y",)),
        Identity("u", extra={"": ("v",)}),
        Identity("u", extra={"k": ("v\n",)}),
        Identity("u", extra={"Key": ("a",), "key": ("b",)}),
        Identity("\ud800"),
    ],
)
def test_what_a_header_cannot_carry_unchanged_is_refused(identity: Identity) -> None:
    with pytest.raises(ValueError, match="identity"):
        impersonation_headers(identity)


def test_a_line_break_in_an_extra_key_is_escaped() -> None:
    [_, (name, _)] = impersonation_headers(Identity("u", extra={"k\r\nx: ": ("v",)}))
    assert name == "Impersonate-Extra-k%0d%0ax%3a%20"


def test_an_identity_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Identity("u").user = "root"  # type: ignore[misc]
