"""Amounts that differ by namespace: what each one asks for, and what it gets of what its project has. Pure.

A namespace asks in an annotation. What all of them get together never exceeds the project's total: whoever had an
amount keeps it, then comes who was there first, and who asks for more than is left keeps what it had and is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from outrider.delivery.spaces import Space
from outrider.kube.quantity import Quantity, QuantityError, parse, total

T = TypeVar("T")
Amounts = Mapping[str, str]
Left = Mapping[str, Quantity]

_REASON: Final = "{reason}"
_LONGEST: Final = 200


class Share(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True):
    """How the amounts in a template are found; they are quantities by name.

    Attributes:
        annotation: of the namespace, with what it asks for: a JSON object of amounts, or one that has that object
            under the name `inside`.
        default: what a namespace gets that asks for nothing.
        total: what all namespaces of the project get together at most. Empty: there is no bound.
        places: the names that are known, and for each the JSON pointer (RFC 6901) to its place in the object;
            without one the amount stands nowhere. An object with places is not made where no amount is known.
        record: annotation of the namespace in which a template of namespaces keeps what was given.
        fits, exceeds: texts by JSON pointer, for a namespace that got what it asked for and for one that did not;
            ``{reason}`` in them stands for the reason.
    """

    annotation: str
    inside: str = ""
    default: dict[str, str] = {}
    total: dict[str, str] = {}
    places: dict[str, str] = {}
    record: str = ""
    fits: dict[str, str] = {}
    exceeds: dict[str, str] = {}


class _Record(msgspec.Struct, omit_defaults=True):
    project: str = ""
    limit: dict[str, str] = {}


class Given(NamedTuple):
    """What a namespace gets; `refusal` says why that is not what it asked for."""

    amounts: dict[str, str]
    refusal: str = ""


def allot(share: Share, spaces: Mapping[str, Space], held: Mapping[str, Amounts]) -> dict[str, Given]:
    """What each of a project's namespaces gets. `held` is what they got before; without it, what they recorded."""
    had = {name: held.get(name) or _recorded(share, space) for name, space in spaces.items()}
    asks = {name: _asked(share, space, had[name]) for name, space in spaces.items()}
    if not share.total:
        return asks
    order = sorted(spaces, key=lambda name: (spaces[name].created, name))
    found: dict[str, Given] = {}
    left: Left = {name: _quantity(text) for name, text in share.total.items()}
    for name in order:
        kept = _least(share, asks[name], had[name])
        found[name], left = _take(asks[name], kept, dict.fromkeys(left, "0"), left)
    for name in order:
        found[name], left = _take(asks[name], asks[name].amounts, found[name].amounts, left)
    return found


def _take(ask: Given, wanted: Amounts, has: Amounts, left: Left) -> tuple[Given, Left]:
    """What a namespace has, and what is left, when it tries to have `wanted` in the place of `has`."""
    free = {name: rest + _quantity(has[name]) for name, rest in left.items()}
    lacking = [name for name in sorted(free) if _quantity(wanted[name]) > free[name]]
    gets = has if lacking else wanted
    if ask.refusal:
        refusal = ask.refusal
    else:
        reasons = (f"{name}: {wanted[name]}, and {free[name]} can be had" for name in lacking)
        refusal = f"it asks for more than its project has: {', '.join(reasons)}"[:_LONGEST] if lacking else ""
    amounts = {**ask.amounts, **{name: gets[name] for name in free}}
    return Given(amounts, refusal), {name: free[name] - _quantity(gets[name]) for name in free}


def _least(share: Share, ask: Given, had: Amounts) -> dict[str, str]:
    """Of each bounded amount what a namespace had, or what it asks for where that is less."""
    return {name: min(ask.amounts[name], had.get(name, "0"), key=_quantity) for name in share.total}


def used(share: Share, given: Iterable[Given]) -> dict[str, str]:
    """What all namespaces of the project got together, of each amount that has a total."""
    amounts = [one.amounts for one in given]
    return {name: str(total(_quantity(one[name]) for one in amounts)) for name in share.total}


def placed(obj: dict[str, Any], share: Share, given: Given, project: str) -> dict[str, Any]:
    """The object with the amounts in their places, and the texts that go with the outcome."""
    made = obj
    for name, pointer in share.places.items():
        if pointer and name in given.amounts:
            made = _put(made, _path(pointer), given.amounts[name])
    for pointer, text in (share.exceeds if given.refusal else share.fits).items():
        made = _put(made, _path(pointer), text.replace(_REASON, given.refusal))
    if share.record and obj.get("kind") == "Namespace":
        record = msgspec.json.encode(_Record(project, given.amounts), order="deterministic").decode()
        made = _put(made, ("metadata", "annotations", share.record), record)
    return made


def is_empty(share: Share, given: Given) -> bool:
    """Whether there is nothing to put into the object that it is made for."""
    places = [name for name, pointer in share.places.items() if pointer]
    return bool(places) and not any(name in given.amounts for name in places)


def _asked(share: Share, space: Space, had: Amounts) -> Given:
    """What a namespace asks for; one that cannot be understood asks for what it had."""
    known = {**dict.fromkeys(share.total, "0"), **share.default}
    try:
        said = _read(space.said.get(share.annotation, ""), share.inside)
        asked = {name: text for name, text in said.items() if name in share.places and text}
    except (msgspec.MsgspecError, RecursionError):
        asked = {share.annotation: "?"}
    if not _are_amounts(asked):
        amounts = {**known, **{name: had.get(name, "0") for name in share.total}}
        return Given(amounts, f"annotation {share.annotation} cannot be read: it takes amounts by name")
    return Given({**known, **asked})


def _recorded(share: Share, space: Space) -> Amounts:
    try:
        found = msgspec.json.decode(space.said.get(share.record, "{}"), type=_Record)
    except (msgspec.MsgspecError, RecursionError):
        return {}
    return found.limit if found.project == space.project and _are_amounts(found.limit) else {}


def _read(text: str, inside: str) -> dict[str, str]:
    if not text:
        return {}
    if inside:
        outer = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        text = bytes(outer.get(inside, b"{}")).decode()
    found = msgspec.json.decode(text, type=dict[str, str | int | float | None] | None)
    return {name: str(value) for name, value in (found or {}).items() if value is not None}


def _are_amounts(amounts: Amounts) -> bool:
    try:
        return all(parse(text).value >= 0 for text in amounts.values())
    except QuantityError:
        return False


def _quantity(text: str) -> Quantity:
    """Of text that was looked at before, or that the server sent."""
    try:
        return parse(text)
    except QuantityError:
        return parse("0")


def _path(pointer: str) -> tuple[str, ...]:
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


def _put(obj: T, path: Sequence[str], value: str) -> T:
    """A copy with the value at the path; what leads nowhere changes nothing."""
    found: Any = obj
    if not path:
        found = value
    elif isinstance(obj, dict):
        found = {**obj, path[0]: _put(obj.get(path[0], {}), path[1:], value)}
    elif isinstance(obj, list) and path[0].isdecimal() and int(path[0]) < len(obj):
        at = int(path[0])
        found = [*obj[:at], _put(obj[at], path[1:], value), *obj[at + 1 :]]
    return found  # type: ignore[no-any-return]
