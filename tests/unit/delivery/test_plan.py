from __future__ import annotations

from typing import Any

import pytest

from outrider.delivery.assembly import assemble
from outrider.delivery.entries import Entry, EntryError, Ref, canonical, ref_of
from outrider.delivery.errors import TooLarge
from outrider.delivery.index import EMPTY, Extra, Index, extras_of, extras_to_items, index_of
from outrider.delivery.instances import instances
from outrider.delivery.ledger import Kept
from outrider.delivery.parts import MAX_PARTS, compress, hash_of, pack
from outrider.delivery.plan import Inventory, Verdict, judge, switch
from outrider.delivery.spaces import Space
from outrider.tunnel.reports import StateHead


def config(name: str, namespace: str = "n", version: str = "v1") -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": version, "kind": "ConfigMap", "metadata": metadata}


def index(*entries: Entry) -> Index:
    made = assemble(entries)
    return index_of(made.groups, {digest: compress(part) for digest, part in made.parts.items()})


def plain(*names: str) -> Index:
    return index(*(Entry(owner="o", object=config(name)) for name in names))


NOTHING = Inventory({}, {})
SPACES = {"one": Space("c:p"), "two": Space("c:q")}


def test_a_head_of_too_many_parts_is_refused() -> None:
    many = tuple((f"{n:064x}",) for n in range(MAX_PARTS + 1))
    for groups in (many, tuple(() for _ in many), (tuple(digest for (digest,) in many),)):
        head = StateHead(epoch=1, counter=1, hash=hash_of(groups, complete=True), complete=True, parts=groups)
        assert judge(head, Kept()) is Verdict.TOO_LARGE
    head = StateHead(epoch=1, counter=1, hash=hash_of(many[1:], complete=True), complete=True, parts=many[1:])
    assert judge(head, Kept()) is Verdict.NEW


def test_a_set_that_is_too_large_is_not_made() -> None:
    objects = [{**config(f"o{n}"), "data": {"k": "x" * 1024}} for n in range(51)]
    with pytest.raises(TooLarge, match="51 objects and 56 KB is too large: at most 50 KB"):
        assemble((Entry(owner="o", object=obj) for obj in objects), limit=50 << 10)
    assert assemble((Entry(owner="o", object=obj) for obj in objects[:40]), limit=50 << 10).size == 40


def test_what_left_is_to_go() -> None:
    made = switch(plain("a", "b", "c"), plain("a", "b"), NOTHING, complete=False)
    assert [ref.name for ref in made.inventory.extra] == ["c"]
    assert made.refusal == ""


def test_a_set_that_lost_more_than_half_holds_what_left() -> None:
    made = switch(plain("a", "b", "c"), plain("a"), NOTHING, complete=False)
    assert sorted(ref.name for ref in made.inventory.held) == ["b", "c"]
    assert made.inventory.extra == {}
    assert "2 of 3" in made.refusal
    # it goes on being held, as long as it is that much
    again = switch(plain("a"), plain("a"), made.inventory, complete=False)
    assert again.inventory.held == made.inventory.held
    # until a set is complete
    final = switch(plain("a"), plain("a"), again.inventory, complete=True)
    assert sorted(ref.name for ref in final.inventory.extra) == ["b", "c"]
    assert final.inventory.held == {}


def test_an_empty_set_holds_even_a_single_object() -> None:
    assert switch(plain("a"), EMPTY, NOTHING, complete=False).refusal
    assert not switch(plain("a"), EMPTY, NOTHING, complete=True).refusal


def test_what_templates_made_is_held_with_them() -> None:
    template = Entry(owner="o", object=config("t", ""), project="c:p")
    old = index(template)
    made = {ref: Extra("v1", release=False) for ref in instances(old.templates, SPACES).wants}
    assert [ref.namespace for ref in made] == ["one"]
    refused = switch(old, EMPTY, Inventory(made, {}), complete=False)
    assert refused.inventory.held == made
    allowed = switch(old, EMPTY, Inventory(made, {}), complete=True)
    assert allowed.inventory.extra == made


def test_another_version_of_an_api_is_the_same_object() -> None:
    old = index(Entry(owner="o", object={**config("a"), "apiVersion": "policy/v1beta1"}))
    new = index(Entry(owner="o", object={**config("a"), "apiVersion": "policy/v1"}))
    assert switch(old, new, NOTHING, complete=True).inventory.extra == {}


def test_versions_only_go_up() -> None:
    made = assemble([Entry(owner="o", object=config("a"))])
    other = assemble([])
    kept = Kept(epoch=2, counter=5, hash=made.hash, complete=True, parts=made.groups)
    assert judge(made.head(2, 5), kept) is Verdict.SAME
    assert judge(other.head(2, 6), kept) is Verdict.NEW
    assert judge(other.head(3, 0), kept) is Verdict.NEW
    assert judge(other.head(2, 5), kept) is Verdict.CONTRADICTION
    assert judge(other.head(1, 99), kept) is Verdict.OLDER
    import msgspec

    forged = msgspec.structs.replace(other.head(3, 0), hash=made.hash)
    assert judge(forged, kept) is Verdict.UNSOUND


def test_an_inventory_survives_being_packed() -> None:
    extras = {
        Ref("", "ConfigMap", "n", "ü/\0"): Extra("v1", release=False),
        Ref("g.io", "Thing", "", "x"): Extra("g.io/v1", release=True),
    }
    groups, parts = pack(extras_to_items(extras))
    assert extras_of(groups, {digest: compress(part) for digest, part in parts.items()}) == extras


def test_two_owners_of_one_object_are_told_and_one_has_it() -> None:
    one = Entry(owner="a", object={**config("x"), "data": {"k": "1"}})
    two = Entry(owner="b", object={**config("x"), "data": {"k": "2"}})
    lines, problems = canonical([two, one])
    assert lines == canonical([one, two])[0]
    assert b'"owner":"a"' in next(iter(lines.values()))
    assert len(problems) == 1
    assert canonical([one, one])[1] == []


@pytest.mark.parametrize(
    "obj",
    [
        {},
        {"apiVersion": "v1", "kind": "X"},
        {"apiVersion": "v1", "kind": "X", "metadata": None},
        {"apiVersion": "v1", "kind": "X", "metadata": {"name": 5}},
        {"apiVersion": "v1", "kind": "", "metadata": {"name": "x"}},
        {"apiVersion": "../v1", "kind": "X", "metadata": {"name": "x"}},
        {"apiVersion": "a/b/c", "kind": "X", "metadata": {"name": "x"}},
    ],
)
def test_what_is_no_object_is_refused(obj: dict[str, Any]) -> None:
    with pytest.raises(EntryError):
        ref_of(obj)
    assert len(canonical([Entry(owner="o", object=obj)])[1]) == 1
