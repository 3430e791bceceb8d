"""The price of a grant: what must be held by those who make it. Pure (contract, auth-and-rbac §3.13)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from outrider.features.rbac.gains import Gain
from outrider.features.rbac.tree import Templates


class Objection(Exception):
    """Nobody may write this; the text says why and what to do, `code` is the HTTP status."""

    def __init__(self, message: str, code: int = 422) -> None:
        super().__init__(message)
        self.code = code


class Right(NamedTuple):
    """A verb on one role that makes up for everything else: `bind` or `escalate`."""

    verb: str
    resource: str
    name: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource} {self.name}"


class Price(NamedTuple):
    """What the writer must hold, unless they have the right; nothing for what grants nothing."""

    gains: tuple[Gain, ...]
    right: Right


FREE: Final = Price((), Right("", "", ""))


def check_template(templates: Templates, name: str, context: str) -> None:
    """Whether a role template may be bound, in a cluster or in a project (`context`). Raises Objection."""
    found = templates.get(name)
    if found is None:
        raise Objection(f"the referenced role template was not found: create {name} first")
    if found.locked:
        raise Objection(f"referenced role {name} is locked and cannot be assigned")
    if found.context != context:
        raise Objection(f"referenced role {name} cannot be given here: its context is not {context}")


def changed(old: object, new: object, fields: Iterable[str]) -> bool:
    """Whether any of the fields differs; none and empty are the same."""
    return any((getattr(old, field, None) or None) != (getattr(new, field, None) or None) for field in fields)
