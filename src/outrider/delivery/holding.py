"""What an applier holds: the set, what templates make of it, and the inventory. Every change is written first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from outrider.delivery.entries import Entry, Ref
from outrider.delivery.index import (
    EMPTY,
    Extra,
    Index,
    Shelf,
    Want,
    extras_of,
    extras_to_items,
    index_of,
)
from outrider.delivery.instances import NOTHING, instances
from outrider.delivery.ledger import Kept, Ledger
from outrider.delivery.parts import PartError, compress, expand, missing, pack
from outrider.delivery.plan import Inventory, switch, with_instances
from outrider.delivery.spaces import Space
from outrider.tunnel.reports import StateHead

log = logging.getLogger(__name__)


class Holding:
    """The state of one applier. Nobody may make an object before its name is in the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._shelf = Shelf()
        self.kept = Kept()
        self.parts: dict[str, bytes] = {}
        self.index: Index = EMPTY
        self.made = NOTHING
        self.inventory = Inventory({}, {})
        self.refusal = ""

    @property
    def whole(self) -> bool:
        """Whether no part of the set is missing."""
        return not missing(self.kept.parts, self.parts)

    # what is wanted

    def want(self, ref: Ref) -> Want | None:
        """What is wanted of an object; None: it should not be there."""
        return self.index.plain.get(ref) or self.made.wants.get(ref)

    def wanted(self) -> Iterator[tuple[Ref, Want]]:
        """All that is wanted."""
        yield from self.index.plain.items()
        for ref, want in self.made.wants.items():
            if ref not in self.index.plain:
                yield ref, want

    def going(self, *, namespaces_known: bool) -> set[Ref]:
        """Objects that may exist and should not.

        As long as the namespaces are not known, what a template may have made stays.
        """
        going = {ref for ref in self.inventory.extra if self.want(ref) is None}
        if self.index.templates and not namespaces_known:
            kinds = {(one.ref.group, one.ref.kind) for one in self.index.templates.values()}
            going = {ref for ref in going if (ref.group, ref.kind) not in kinds}
        return going

    def entry(self, ref: Ref, want: Want) -> Entry:
        """The whole entry of a want. Raises PartError."""
        if want.template:
            template = self.index.templates[want.template]
            return self.made.entry(template, want.template, ref.namespace or ref.name)
        return self._shelf.entry(want)

    # changes

    async def read(self) -> None:
        """Take up what the ledger has. Raises LedgerError, KubeError."""
        contents = await self._ledger.read()
        self.kept = contents.kept
        self.parts = {digest: part for digest, part in contents.parts.items() if _is_good(part, digest)}
        if not self.whole:
            log.error("the kept desired state is not whole; waiting for the server to send the rest")
        self.inventory = Inventory(
            self._read_or(lambda: extras_of(self.kept.extra, self.parts), {}),
            self._read_or(lambda: extras_of(self.kept.held, self.parts), {}),
        )
        self.index = self._read_or(lambda: index_of(self.kept.parts, self.parts), EMPTY)
        self._shelf = Shelf(self.kept.parts, self.parts)

    async def take_over(
        self, head: StateHead, offered: Mapping[str, bytes], spaces: Mapping[str, Space]
    ) -> None:
        """Put a set in the place of the present one. Raises PartError, LedgerLost, KubeError."""
        parts = {**self.parts, **offered}
        if lacking := missing(head.parts, parts):
            raise PartError(f"{len(lacking)} parts are missing")
        index = index_of(head.parts, parts)
        plan = switch(self.index, index, self.inventory, complete=head.complete)
        made = instances(index.templates, spaces, self.made.held(self.index.templates))
        extra = with_instances(plan.inventory.extra, made.wants, index.plain)
        kept = Kept(
            epoch=head.epoch, counter=head.counter, hash=head.hash, complete=head.complete, parts=head.parts
        )
        await self._keep(kept, Inventory(extra, plan.inventory.held), parts)
        self.index, self.made, self.refusal = index, made, plan.refusal
        self._shelf = Shelf(self.kept.parts, self.parts)

    async def instantiate(self, spaces: Mapping[str, Space]) -> bool:
        """Follow the namespaces; returns whether anything else is wanted now."""
        made = instances(self.index.templates, spaces, self.made.held(self.index.templates))
        if made == self.made:
            return False
        extra = with_instances(self.inventory.extra, made.wants, self.index.plain)
        held = {ref: one for ref, one in self.inventory.held.items() if ref not in made.wants}
        await self._keep(self.kept, Inventory(extra, held), self.parts)
        self.made = made
        return True

    async def strike(self, gone: Iterable[Ref]) -> None:
        """Take objects that are gone off the inventory, unless they are wanted."""
        left = set(gone)
        extra: dict[Ref, Extra] = {
            ref: one
            for ref, one in self.inventory.extra.items()
            if ref not in self.index.plain and not (ref in left and ref not in self.made.wants)
        }
        await self._keep(self.kept, Inventory(extra, self.inventory.held), self.parts)

    async def _keep(self, kept: Kept, inventory: Inventory, parts: Mapping[str, bytes]) -> None:
        extra, extra_parts = pack(extras_to_items(inventory.extra))
        held, held_parts = pack(extras_to_items(inventory.held))
        kept = msgspec.structs.replace(kept, extra=extra, held=held)
        made = {**extra_parts, **held_parts}
        named = {
            digest: parts[digest] if digest in parts else compress(made[digest])
            for digest in kept.named()
            if digest in parts or digest in made
        }
        if kept != self.kept or not self._ledger.has(kept):
            await self._ledger.write(kept, named)
        self.kept, self.parts, self.inventory = kept, named, inventory

    def _read_or(self, read: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return read()
        except PartError as error:
            log.error("%s: what only that part named is not pruned", error)  # noqa: TRY400
            return otherwise


def _is_good(part: bytes, digest: str) -> bool:
    try:
        expand(part, digest)
    except PartError as error:
        log.warning("%s", error)
        return False
    return True
