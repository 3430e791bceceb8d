"""What namespaces get of what their project has, against an oracle that knows only what must be true of it."""

from __future__ import annotations

import json
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from outrider.delivery.entries import Entry, instance
from outrider.delivery.instances import instances, shares_of
from outrider.delivery.shares import Given, Share, allot, used
from outrider.delivery.spaces import Space

ASKED = "field.cattle.io/resourceQuota"
RECORD = "outrider.cattle.io/quota"
NAMES = ("a", "b", "c", "d")
UNITS = {"m": Fraction(1, 1000), "": Fraction(1)}


def share(total: dict[str, str], default: dict[str, str]) -> Share:
    return Share(
        annotation=ASKED,
        inside="limit",
        default=default,
        total=total,
        places={"cpu": "/spec/hard/limits.cpu", "pods": "/spec/hard/pods"},
        record=RECORD,
    )


def space(asked: object = None, created: str = "", record: object = None) -> Space:
    said = {} if asked is None else {ASKED: json.dumps({"limit": asked})}
    if record is not None:
        said[RECORD] = json.dumps({"project": "c:p", "limit": record})
    return Space("c:p", "uid", created, said)


def number(text: str) -> Fraction:
    """Written anew, so that the oracle reads quantities by itself."""
    unit = text[-1] if text[-1] == "m" else ""
    return Fraction(text.removesuffix("m")) * UNITS[unit]


amounts = st.one_of(st.integers(0, 6).map(str), st.integers(0, 6000).map(lambda n: f"{n}m"))
asks = st.fixed_dictionaries({}, optional={"cpu": amounts, "pods": st.integers(0, 5).map(str)})


@settings(max_examples=300)
@given(
    total=st.fixed_dictionaries({"cpu": amounts, "pods": st.integers(0, 8).map(str)}),
    default=st.fixed_dictionaries({"cpu": amounts, "pods": st.integers(0, 3).map(str)}),
    asked=st.fixed_dictionaries(dict.fromkeys(NAMES, asks)),
    ages=st.permutations(NAMES),
    history=st.lists(st.tuples(st.sampled_from(NAMES), st.none() | asks), max_size=6),
)
def test_a_history_of_asking(
    total: dict[str, str],
    default: dict[str, str],
    asked: dict[str, dict[str, str]],
    ages: list[str],
    history: list[tuple[str, dict[str, str] | None]],
) -> None:
    one = share(total, default)
    there: dict[str, dict[str, str]] = dict(asked)
    held: dict[str, dict[str, str]] = {}
    for name, wants in [("", None), *history]:
        if name and wants is None:
            there.pop(name, None)
        elif name and wants is not None:
            there[name] = wants
        spaces = {ns: space(there[ns], f"2026-01-0{ages.index(ns) + 1}") for ns in there}
        found = allot(one, spaces, held)
        judge(total, default, there, held, found)
        # who restarts knows what was recorded, and comes to the same
        recorded = {ns: space(there[ns], spaces[ns].created, held.get(ns)) for ns in there}
        assert allot(one, recorded, {}) == found
        held = {ns: got.amounts for ns, got in found.items()}


def judge(
    total: dict[str, str],
    default: dict[str, str],
    asked: dict[str, dict[str, str]],
    held: dict[str, dict[str, str]],
    found: dict[str, Given],
) -> None:
    assert found.keys() == asked.keys()
    wants = {ns: {k: number(asked[ns].get(k, default[k])) for k in total} for ns in asked}
    gets = {ns: {k: number(got.amounts[k]) for k in total} for ns, got in found.items()}
    had = {ns: {k: number(held[ns][k]) if ns in held else Fraction(0) for k in total} for ns in asked}
    left = {k: number(text) - sum(gets[ns][k] for ns in gets) for k, text in total.items()}
    assert all(rest >= 0 for rest in left.values())
    for ns, got in found.items():
        assert (got.refusal == "") == (gets[ns] == wants[ns])
        for k in total:
            assert gets[ns][k] >= min(wants[ns][k], had[ns][k])
            assert gets[ns][k] <= wants[ns][k]
        if got.refusal:
            assert any(wants[ns][k] > left[k] + gets[ns][k] for k in total)


def test_who_was_there_first() -> None:
    one = share({"cpu": "2"}, {"cpu": "1"})
    spaces = {name: space(created=f"2026-01-0{3 - n}") for n, name in enumerate("abc")}
    found = allot(one, spaces, {})
    assert {name: got.amounts["cpu"] for name, got in found.items()} == {"a": "0", "b": "1", "c": "1"}
    assert found["a"].refusal == "it asks for more than its project has: cpu: 1, and 0 can be had"
    assert used(one, found.values()) == {"cpu": "2"}
    # one that had it keeps it, whoever is older; and one that asks for too much keeps what it had
    spaces["c"] = space({"cpu": "5"}, "2026-01-01")
    again = allot(one, spaces, {name: got.amounts for name, got in found.items()})
    assert {name: got.amounts["cpu"] for name, got in again.items()} == {"a": "0", "b": "1", "c": "1"}
    assert again["c"].refusal


def test_what_cannot_be_read_is_refused() -> None:
    one = share({"cpu": "2"}, {"cpu": "1"})
    for text in (
        "{",
        "[]",
        '{"limit": []}',
        '{"limit": {"cpu": "much"}}',
        '{"limit": {"cpu": "-1"}}',
        "[" * 9999,
    ):
        got = allot(one, {"a": Space("c:p", "", "", {ASKED: text})}, {})["a"]
        assert (got.amounts["cpu"], "cannot be read" in got.refusal) == ("0", True), text
        assert allot(one, {"a": Space("c:p", "", "", {ASKED: text})}, {"a": {"cpu": "1"}})["a"].amounts == {
            "cpu": "1"
        }
    # empty ones are none, and a forged record of less than nothing gives nothing to others
    for text in ("", "{}", '{"limit": {"cpu": "", "unknown": "1"}}', '{"limit": null}'):
        assert allot(one, {"a": Space("c:p", "", "", {ASKED: text})}, {})["a"] == Given({"cpu": "1"})
    both = {"a": space({"cpu": "9"}, "1", {"cpu": "-9"}), "b": space({"cpu": "9"}, "2")}
    assert [got.amounts["cpu"] for got in allot(one, both, {}).values()] == ["0", "0"]
    elsewhere = space(None, "", None)
    elsewhere = elsewhere._replace(said={RECORD: json.dumps({"project": "c:q", "limit": {"cpu": "2"}})})
    found = allot(one, {"a": elsewhere._replace(created="2"), "b": space({"cpu": "2"}, "1")}, {})
    assert [found[name].amounts["cpu"] for name in "ab"] == ["0", "2"]


def test_amounts_stand_in_their_places() -> None:
    bounds = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "usual"},
        "spec": {"limits": [{"type": "Container"}]},
    }
    places = {"limitsCpu": "/spec/limits/0/default/cpu", "requestsCpu": "/spec/limits/0/defaultRequest/cpu"}
    limits = Entry(owner="o", object=bounds, project="c:p", share=Share(annotation="x", places=places))
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "usual"}}
    total = Entry(owner="o", object=quota, project="c:p", share=share({"cpu": "3"}, {"cpu": "1"}))
    mark = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "any"}}
    texts = {
        "fits": {"/metadata/annotations/a~1b": "fine"},
        "exceeds": {"/metadata/annotations/a~1b": "{reason}"},
    }
    marks = Share(
        annotation=ASKED,
        inside="limit",
        default={"cpu": "1"},
        total={"cpu": "3"},
        places={"cpu": ""},
        record=RECORD,
        **texts,
    )
    named = Entry(owner="o", object=mark, project="c:p", share=marks)
    templates = {"1": limits, "2": total, "3": named}
    spaces = {"one": Space("c:p", "", "1", {"x": '{"limitsCpu": "1"}'}), "two": space({"cpu": "4"}, "2")}
    made = instances(templates, spaces)
    names = sorted((ref.kind, ref.namespace or ref.name) for ref in made.wants)
    assert names == [
        ("LimitRange", "one"),
        ("Namespace", "one"),
        ("Namespace", "two"),
        ("ResourceQuota", "one"),
        ("ResourceQuota", "two"),
    ]
    assert made.entry(limits, "1", "one").object["spec"] == {
        "limits": [{"type": "Container", "default": {"cpu": "1"}}]
    }
    assert made.entry(total, "2", "two").object["spec"] == {"hard": {"limits.cpu": "0"}}
    annotations = made.entry(named, "3", "two").object["metadata"]["annotations"]
    assert annotations["a/b"].startswith("it asks for more")
    assert json.loads(annotations[RECORD]) == {"project": "c:p", "limit": {"cpu": "0"}}
    assert made.entry(named, "3", "one").object["metadata"]["annotations"]["a/b"] == "fine"
    states = shares_of(templates, made)
    assert [(one.project, one.used, one.refused) for one in states] == [("c:p", {"cpu": "1"}, ["two"])]
    # what is held belongs to the project
    assert made.held(templates)["c:p"]["one"] == {"cpu": "1"}
    assert instance(total, "one").share is not None
