from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.delivery.parts import (
    MAX_PART,
    PartError,
    compress,
    cut,
    digest_of,
    expand,
    hash_of,
    join,
    leaves,
    missing,
    pack,
)

items = st.dictionaries(
    st.text(min_size=1, max_size=6), st.integers(1, 40).map(lambda n: b'"' + b"x" * n + b'"')
)


@given(items, st.integers(16, 200))
def test_nothing_is_lost_and_parts_are_small(found: dict[str, bytes], limit: int) -> None:
    made = leaves(found, limit)
    together = sorted(item for leaf in made for item in leaf[1:-1].split(b","))
    assert together == sorted(found.values())
    for leaf in made:
        assert len(leaf) <= limit or b"," not in leaf, "only a single item may be larger"
        assert all(len(part) <= limit for part in cut(leaf, limit))


@given(items, st.randoms(use_true_random=False))
def test_the_order_plays_no_role(found: dict[str, bytes], rand: random.Random) -> None:
    shuffled = list(found.items())
    rand.shuffle(shuffled)
    assert pack(dict(shuffled), 64) == pack(found, 64)


@given(items.filter(bool), st.data())
def test_a_changed_item_of_the_same_size_changes_one_part(
    found: dict[str, bytes], data: st.DataObject
) -> None:
    key = data.draw(st.sampled_from(sorted(found)))
    changed = {**found, key: found[key].replace(b"x", b"y")}
    before, after = leaves(found, 100), leaves(changed, 100)
    assert len(before) == len(after)
    assert sum(one != other for one, other in zip(before, after, strict=True)) == 1


def test_one_more_of_many_changes_few_parts() -> None:
    rand = random.Random(1)
    found = {f"object-{n}": b'"' + rand.randbytes(200).hex().encode() + b'"' for n in range(12_000)}
    _, parts = pack(found)
    assert 20 < len(parts) < 80
    changed_most = 0
    for n in range(4):
        _, more = pack({**found, f"new-{n}": b'"x"'})
        changed_most = max(changed_most, len(parts.keys() - more.keys()))
    assert changed_most <= 1


def test_a_large_object_is_cut() -> None:
    large = b'"' + random.Random(2).randbytes(MAX_PART).hex().encode() + b'"'
    groups, parts = pack({"large": large, "small": b'"x"'})
    group = max(groups, key=len)
    assert len(group) == 3
    assert all(len(part) <= MAX_PART for part in parts.values())
    packed = {digest: compress(part) for digest, part in parts.items()}
    assert join(group, packed) == b"[" + large + b"]"
    with pytest.raises(PartError, match="missing"):
        join(group, {})


def test_a_part_is_what_its_digest_says_and_no_bomb() -> None:
    part = b"[1]"
    assert expand(compress(part), digest_of(part)) == part
    for packed in (compress(b"[2]"), b"nonsense", compress(part)[:-3], compress(b"0" * (MAX_PART + 1))):
        with pytest.raises(PartError):
            expand(packed, digest_of(part))


def test_the_hash_is_of_parts_and_completeness() -> None:
    groups, other = (("a", "b"),), (("a",), ("b",))
    assert (
        len({hash_of(groups, complete=True), hash_of(groups, complete=False), hash_of(other, complete=True)})
        == 3
    )
    assert missing((("a", "b"), ("c", "a")), {"b"}) == ["a", "c"]
