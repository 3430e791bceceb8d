"""The language of filters."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.facade.v1.filters import FilterError, Requirement, parse


def passes(text: str, held: Any) -> bool:
    (requirement,) = parse(text)
    return requirement.test()(held)


@pytest.mark.parametrize(
    ("text", "held", "passed"),
    [
        ("a=b", "xBx", True),
        ("a=b", "x", False),
        ("a='b'", "b", True),
        ("a='b'", "xbx", False),
        ('a="b"', "xbx", True),
        ("a~b", "xbx", True),
        ("a!~b", "xbx", False),
        ("a!=b", "x", True),
        ("a!='b'", "xb", True),
        ("a==b", "b", True),
        ("a = ", "anything", True),
        ("a='it\\'s'", "it's", True),
        ("a in (b, 'c,d')", "c,d", True),
        ("a IN (b,c)", "bc", False),
        ("a notin (b,c)", "d", True),
        ("a notin (b)", None, True),
        ("a in ()", None, True),
        ("a<3", 2, True),
        ("a > 2.5", "3", True),
        ("a lt 3", "x", False),
        ("a", 0, True),
        ("a", None, False),
        ("!a", None, True),
        ("!a", "", False),
        ("a=true", True, True),
        ("a=b", ["x", "b"], True),
        ("a!=b", ["x", "b"], False),
        ("a!=b", [], True),
        ("metadata.labels[x.y/z]=b", "b", True),
        ("a=nginx:1.2@sha256:0(x)", "nginx:1.2@sha256:0(x)", True),
    ],
)
def test_what_passes(text: str, held: Any, passed: bool) -> None:
    assert passes(text, held) is passed


def test_alternatives_are_separated_by_commas() -> None:
    found = parse("a=b,c in (d,e) , !f")
    assert found == (
        Requirement(("a",), "part", ("b",)),
        Requirement(("c",), "exact", ("d", "e")),
        Requirement(("f",), "exists", negated=True),
    )


@pytest.mark.parametrize(
    "text", ["=b", "a in b", "a in (b", "a<x", "a[=b", "a b", ",a=b", "a=b,,c=d", "a='b'c", "a" * 9000]
)
def test_what_cannot_be_read_says_so(text: str) -> None:
    with pytest.raises(FilterError):
        parse(text)


@given(st.text(max_size=60))
def test_nothing_else_is_raised(text: str) -> None:
    with contextlib.suppress(FilterError):
        for requirement in parse(text):
            requirement.test()("x")
