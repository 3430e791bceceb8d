import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.kube.selectors import (
    FieldSelector,
    FieldTerm,
    LabelSelector,
    Requirement,
    SelectorError,
    from_label_selector,
    parse_fields,
    parse_labels,
)

MATCHES = [
    ("", {}, True),
    ("a", {"a": "x"}, True),
    ("a", {}, False),
    ("!a", {}, True),
    ("!a", {"a": ""}, False),
    ("a=x", {"a": "x"}, True),
    ("a==x", {"a": "x"}, True),
    ("a=x", {"a": "y"}, False),
    ("a!=x", {"a": "y"}, True),
    ("a!=x", {}, True),
    ("a=", {"a": ""}, True),
    ("a=,b=1", {"a": "", "b": "1"}, True),
    ("a in (x, y)", {"a": "y"}, True),
    ("a in (x,y)", {"a": "z"}, False),
    ("a in (x,y)", {}, False),
    ("a notin (x,y)", {"a": "z"}, True),
    ("a notin (x,y)", {}, True),
    ("a in ()", {"a": ""}, True),
    ("a in (,x)", {"a": ""}, True),
    ("in in (in)", {"in": "in"}, True),
    ("a>5", {"a": "6"}, True),
    ("a>5", {"a": "5"}, False),
    ("a<5", {"a": "-6"}, True),
    ("a<5", {"a": "x"}, False),
    ("a>5", {}, False),
    (" example.com/a = x , b ", {"example.com/a": "x", "b": ""}, True),
]


@pytest.mark.parametrize(("text", "labels", "expected"), MATCHES)
def test_label_selectors_match(text: str, labels: dict[str, str], expected: bool) -> None:
    selector = parse_labels(text)
    assert selector.matches(labels) is expected
    assert parse_labels(str(selector)) == selector


@pytest.mark.parametrize(
    "text",
    ["=x", "a=x,", ",a", "a,,b", "a in x", "a in (x", "a in (x y)", "a ! b", "!", "!=x", "a=x y", "a=x=y",
     "-a", "a/b/c", "/a", "UPPER.com/a", "a=" + "x" * 64, "a>x", "a>1.5", "a b", "a in", "a=-x", "(a)", "é=x"],
)  # fmt: skip
def test_label_selectors_that_cannot_be_read(text: str) -> None:
    with pytest.raises(SelectorError):
        parse_labels(text)


names = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,8}[A-Za-z0-9])?", fullmatch=True)
values = names | st.just("")
requirements = st.one_of(
    st.tuples(names, st.sampled_from(("exists", "!"))).map(lambda pair: Requirement(*pair)),
    st.builds(
        lambda key, operator, chosen: Requirement(key, operator, tuple(sorted(chosen))),
        names,
        st.sampled_from(("in", "notin")),
        st.sets(values, min_size=1, max_size=4),
    ),
    st.builds(
        lambda key, operator, number: Requirement(key, operator, (str(number),)),
        names,
        st.sampled_from(("gt", "lt")),
        st.integers(0, 99),
    ),
)


@given(st.lists(requirements, max_size=5))
def test_what_is_written_is_read_back(given_requirements: list[Requirement]) -> None:
    selector = LabelSelector(tuple(given_requirements))
    assert parse_labels(str(selector)) == selector


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_labels, parse_fields):
        try:
            selector = parse(text)
        except SelectorError:
            continue
        assert parse(str(selector)) == selector


def test_the_object_form() -> None:
    selector = from_label_selector(
        {
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["b", "a"]},
                {"key": "old", "operator": "DoesNotExist"},
            ],
        }
    )
    assert str(selector) == "app=web,tier in (a,b),!old"
    assert from_label_selector(None) is None
    assert from_label_selector({}) == LabelSelector()


@pytest.mark.parametrize(
    "expression",
    [
        {"key": "a", "operator": "Like", "values": ["x"]},
        {"key": "a", "operator": "In"},
        {"key": "a", "operator": "Exists", "values": ["x"]},
        {"key": "", "operator": "Exists"},
        {"key": "a", "operator": "In", "values": [1]},
    ],
)
def test_the_object_form_is_checked(expression: dict[str, Any]) -> None:
    with pytest.raises(SelectorError):
        from_label_selector({"matchExpressions": [expression]})


POD = {"metadata": {"name": "a,b"}, "spec": {"unschedulable": True}, "status": {"phase": "Running"}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("status.phase=Running", True),
        ("status.phase==Running,metadata.name!=x", True),
        ("status.phase!=Running", False),
        (r"metadata.name=a\,b", True),
        ("spec.nodeName=", True),
        ("spec.unschedulable=true", True),
        ("status.phase.x=y", False),
    ],
)
def test_field_selectors_match(text: str, expected: bool) -> None:
    assert parse_fields(text).matches(POD) is expected


@given(
    st.lists(
        st.tuples(st.from_regex(re.compile(r"[a-z.]+", re.ASCII), fullmatch=True), st.booleans(), st.text())
    )
)
def test_field_selectors_are_read_back(terms: list[tuple[str, bool, str]]) -> None:
    selector = FieldSelector(tuple(FieldTerm(*term) for term in terms))
    assert parse_fields(str(selector)) == selector


@pytest.mark.parametrize("text", ["a", "=x", "a=b=c", "a>b"])
def test_field_selectors_that_cannot_be_read(text: str) -> None:
    with pytest.raises(SelectorError):
        parse_fields(text)
