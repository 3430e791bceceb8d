"""Gathers entries; objects that several bindings want are one, with the labels of all of them."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from outrider.delivery.entries import Entry, key_of

OWNER: Final = "rbac"


class Collection:
    """Entries by what they are of. What is added first stays; a later one adds its labels only."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def add(self, obj: dict[str, Any], **fields: Any) -> None:
        """Want an object; `fields` are those of an `Entry`, such as the project in whose namespaces it is wanted."""
        entry = Entry(owner=OWNER, object=obj, **fields)
        entry = msgspec.structs.replace(entry, requires=_required(entry))
        key = key_of(entry)
        held = self._entries.get(key)
        self._entries[key] = entry if held is None else _with_labels(held, obj["metadata"].get("labels", {}))

    def entries(self) -> list[Entry]:
        """All of them."""
        return list(self._entries.values())


def _required(entry: Entry) -> tuple[str, ...]:
    """What an agent must be able to do for it."""
    needs = {
        "expects": entry.expects,
        "members": entry.joining or entry.leaving,
        "share": entry.share,
        "within": entry.within,
    }
    return tuple(name for name, needed in needs.items() if needed)


def _with_labels(entry: Entry, more: dict[str, str]) -> Entry:
    metadata = entry.object["metadata"]
    labels = {**metadata.get("labels", {}), **more}
    return msgspec.structs.replace(entry, object={**entry.object, "metadata": {**metadata, "labels": labels}})
