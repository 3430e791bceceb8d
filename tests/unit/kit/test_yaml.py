"""YAML with Kubernetes' semantics: what is written comes back, in any reader; what is hostile is refused."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import yaml as pyyaml
from hypothesis import example, given
from hypothesis import strategies as st

from outrider.kit import yaml

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
AWKWARD = st.sampled_from(
    [
        *["yes", "no", "on", "off", "y", "n", "true", "null", "~", "=", "<<", "1e3", "0x1f", "0o17", "010"],
        *["1_000", ".5", "-.inf", ".nan", "2024-01-02", "12:30:45", "2001-12-14t21:59:43.10-05:00", "{{a}}"],
        *["-", "?", ":", "#", "&", "*", "!", "|", ">", "%", "@", "`", "---", "..."],
    ]
)
SCALAR = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | TEXT | AWKWARD
SCALAR = SCALAR | st.floats(allow_nan=False, allow_infinity=False)
VALUE = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | AWKWARD, inner, max_size=4),
    max_leaves=20,
)


@given(VALUE)
@example("a: b\n  c\n")
@example({"": ""})
@example("\x85\u2028\ufeff\x00\x7f\U0001f600")
@example("line\nline\n")
@example(1e16)
def test_what_is_written_comes_back(value: Any) -> None:
    text = yaml.dump(value)
    assert text.isascii()
    assert yaml.load(text) == value


@given(st.dictionaries(TEXT | AWKWARD, TEXT | AWKWARD, max_size=4))
def test_a_yaml_1_1_reader_reads_the_same_strings(value: dict[str, str]) -> None:
    assert pyyaml.safe_load(yaml.dump(value)) == value


@given(st.lists(VALUE, max_size=4))
def test_documents_keep_apart(values: list[Any]) -> None:
    assert yaml.load_all(yaml.dump_all(values)) == values


@given(st.text(max_size=60) | st.binary(max_size=60))
def test_any_text_is_read_or_refused(text: str | bytes) -> None:
    with contextlib.suppress(yaml.YAMLError):
        assert isinstance(yaml.load_all(text), list)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("'yes'", "yes"),
        ("Off", False),
        ("", None),
        ("~", None),
        ("nULL", "nULL"),
        ("0777", 511),
        ("0o17", 15),
        ("-0x1F", -31),
        ("0b101", 5),
        ("1_000", 1000),
        ("08", 8.0),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.2.3", "1.2.3"),
        ("2024-01-02", "2024-01-02"),
        ("12:30:45", "12:30:45"),
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", float(2**64)),
        ("!!str 12", "12"),
        ("! 12", "12"),
        ("!!float 1", 1),
        ("on: 1", {"true": 1}),
        ("1: a", {"1": "a"}),
        ("1e3: a", {"1000": "a"}),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        ("{<<: [{a: 1}, {a: 2, b: 2}]}", {"a": 1, "b": 2}),
        ("{'<<': 1}", {"<<": 1}),
    ],
)
def test_reads_as_kubectl_does(text: str, value: Any) -> None:
    read = yaml.load(text)
    assert read == value
    assert type(read) is type(value)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\na: 2", "line 2, column 1: duplicate key 'a'"),
        ("1: a\n'1': b", "duplicate key '1'"),
        ("a: &a [*a]", "not defined, or contains itself"),
        ("*b", "not defined"),
        (BOMB, "values"),
        ("[" * 200 + "]" * 200, "nested deeper"),
        ("[" * 100_000, "nested deeper"),
        ("!!python/object:os.system x", "not supported"),
        ("!!python/tuple [1]", "not supported"),
        ("!!int x", "not of type int"),
        (".inf", "no JSON form"),
        ("1e999", "too large"),
        ("{[a]: b}", "a key must be"),
        ("a: b: c", "mapping values"),
        ("<<: 3", "needs a mapping"),
        ("\x00", "control characters"),
        ("a\n---\nb", "expected one YAML document, found 2"),
        ("x" * (yaml.MAX_BYTES + 1), "larger than"),
    ],
)
def test_refuses(text: str, problem: str) -> None:
    with pytest.raises(yaml.YAMLError, match=problem):
        yaml.load(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), "\ud800"])
def test_does_not_write_what_json_cannot_hold(value: Any) -> None:
    with pytest.raises(yaml.YAMLError, match="cannot be written"):
        yaml.dump({"a": value})


def test_shared_values_are_written_out() -> None:
    shared = {"a": 1}
    assert "&" not in yaml.dump([shared, shared])
