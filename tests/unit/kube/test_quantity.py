from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.kube.quantity import Format, Quantity, QuantityError, parse, total

# Text, amount and canonical form as k8s.io/apimachinery gives them.
CASES = [
    ("0", 0, "0"),
    ("0Ki", 0, "0"),
    ("-0", 0, "0"),
    ("1", 1, "1"),
    ("+1", 1, "1"),
    ("1000", 1000, "1k"),
    ("1500m", Fraction(3, 2), "1500m"),
    ("1000m", 1, "1"),
    ("0.5", Fraction(1, 2), "500m"),
    (".5", Fraction(1, 2), "500m"),
    ("1.", 1, "1"),
    ("1.5Gi", 3 << 29, "1536Mi"),
    ("1024Mi", 1 << 30, "1Gi"),
    ("0.5Ki", 512, "512"),
    ("1023", 1023, "1023"),
    ("1025Ki", 1025 << 10, "1025Ki"),
    ("0.1Mi", Fraction(1048576, 10), "104857600m"),
    ("1e3", 1000, "1e3"),
    ("1E3", 1000, "1e3"),
    ("12e-1", Fraction(12, 10), "1200e-3"),
    ("1E", 10**18, "1E"),
    ("100E", 10**20, "100E"),
    ("5n", Fraction(5, 10**9), "5n"),
    ("0.1n", Fraction(1, 10**9), "1n"),
    ("-0.1n", Fraction(-1, 10**9), "-1n"),
    ("1234567u", Fraction(1234567, 10**6), "1234567u"),
    ("-2Gi", -(2 << 30), "-2Gi"),
    ("16Ei", 16 << 60, "16Ei"),
]


@pytest.mark.parametrize(("text", "amount", "canonical"), CASES)
def test_reading_and_the_canonical_form(text: str, amount: Fraction | int, canonical: str) -> None:
    quantity = parse(text)
    assert quantity.value == amount
    assert str(quantity) == canonical


@pytest.mark.parametrize(
    "text",
    ["", " ", "1 Gi", "1gi", "1KI", "1K", "Gi", ".", "-", "1.2.3", "0x10", "1e", "1e999999999", "1ee3", "\u0661", "1\n",
     "9" * 101, "nan", "inf", "1_000", "1e3Gi"],
)  # fmt: skip
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(QuantityError):
        parse(text)


formats = st.sampled_from(("DecimalSI", "BinarySI", "DecimalExponent"))
amounts = st.integers(-(10**30), 10**30).map(lambda nano: Fraction(nano, 10**9))


@given(amounts, formats)
def test_the_canonical_form_is_exact_and_stable(value: Fraction, form: Format) -> None:
    text = str(Quantity(value, form))
    again = parse(text)
    assert again.value == value
    assert str(again) == text
    assert "." not in text


@given(amounts, amounts, formats, formats)
def test_sums_are_exact(a: Fraction, b: Fraction, form_a: Format, form_b: Format) -> None:
    one, other = Quantity(a, form_a), Quantity(b, form_b)
    assert (one + other).value == a + b
    assert (one + other) - other == one
    assert (one < other) == (a < b)


def test_a_sum_keeps_the_family_of_suffixes() -> None:
    assert str(total(map(parse, ["512Mi", "512Mi", "1Gi"]))) == "2Gi"
    assert str(total(map(parse, ["250m", "750m"]))) == "1"
    assert str(total([])) == "0"


def test_equality_looks_at_the_amount() -> None:
    assert parse("1Ki") == parse("1024")
    assert hash(parse("1Ki")) == hash(parse("1024"))
    assert parse("1") != 1
