"""What changes when another set takes the place of the present one. Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from outrider.delivery.entries import Ref
from outrider.delivery.index import Extra, Index, Want
from outrider.delivery.ledger import Kept
from outrider.delivery.parts import is_bounded, is_sound
from outrider.tunnel.reports import StateHead


class Verdict(Enum):
    """What to do with a head."""

    NEW = "new"
    SAME = "same"
    OLDER = "older"
    CONTRADICTION = "contradiction"
    UNSOUND = "unsound"
    TOO_LARGE = "too large"


def judge(head: StateHead, kept: Kept) -> Verdict:
    """Whether a head may take the place of what is kept. One version never stands for two sets."""
    if not is_bounded(head.parts):
        return Verdict.TOO_LARGE
    if not is_sound(head):
        return Verdict.UNSOUND
    if head.version < kept.version:
        return Verdict.OLDER
    if head.version == kept.version:
        return Verdict.SAME if head.hash == kept.hash else Verdict.CONTRADICTION
    return Verdict.NEW


class Inventory(NamedTuple):
    """Objects that may exist and are not plain entries of the set; see `ledger.Kept`."""

    extra: dict[Ref, Extra]
    held: dict[Ref, Extra]


class Switch(NamedTuple):
    """The inventory with which a set takes over, and why nothing is deleted, if that is refused."""

    inventory: Inventory
    refusal: str


def switch(old: Index, new: Index, before: Inventory, *, complete: bool) -> Switch:
    """What `new` leaves of `old`.

    A set that became empty or lost more than half of its entries prunes only when it is complete: a server
    that has not read everything yet must not empty a cluster. What is held counts as had until a complete
    set, or one that lost little, lets it go.
    """
    gone = {ref: _extra(want) for ref, want in old.plain.items() if ref not in new.plain}
    gone.update({ref: extra for ref, extra in before.held.items() if ref not in new.plain})
    lost_templates = [key for key in old.templates if key not in new.templates]
    had = len(old.plain) + len(before.held) + len(old.templates)
    lost = len(gone) + len(lost_templates)
    extra = {ref: one for ref, one in before.extra.items() if ref not in new.plain}
    if complete or not lost or not _too_much(lost, had, len(new.plain) + len(new.templates)):
        return Switch(Inventory({**extra, **gone}, {}), "")
    made = {_likeness(old.templates[key].ref) for key in lost_templates}
    orphans = {ref for ref in extra if _likeness(ref) in made}
    held = {**gone, **{ref: one for ref, one in extra.items() if ref in orphans}}
    rest = {ref: one for ref, one in extra.items() if ref not in orphans}
    refusal = f"{lost} of {had} objects would be deleted; that needs a state that is marked complete"
    return Switch(Inventory(rest, held), refusal)


def with_instances(
    extra: Mapping[Ref, Extra], wanted: Mapping[Ref, Want], plain: Mapping[Ref, Want]
) -> dict[Ref, Extra]:
    """The inventory once `wanted`, made from templates, may exist, too."""
    found = dict(extra)
    for ref, want in wanted.items():
        if ref not in plain:
            found[ref] = _extra(want)
    return found


def _likeness(ref: Ref) -> tuple[str, str, str]:
    """What a template and its instances have in common."""
    return (ref.group, ref.kind, "" if ref.rank == 0 else ref.name)


def _too_much(lost: int, had: int, left: int) -> bool:
    return left == 0 or lost * 2 > had


def _extra(want: Want) -> Extra:
    return Extra(want.api_version, want.release)
