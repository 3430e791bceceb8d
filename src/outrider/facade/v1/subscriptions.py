"""What a subscriber of `/v1` asks for, and the frames that answer it (contract, clients §2); pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from outrider.kube.meta import ObjectKey

Json = dict[str, Any]

CHANGES: Final = "resource.changes"
"""The mode in which a subscriber is told that something changed, and looks for itself."""

MOST: Final = 256
"""Subscriptions of one WebSocket."""


class Subscription(msgspec.Struct, rename="camel", frozen=True, omit_defaults=True):
    """One frame of a subscriber's. Times in milliseconds."""

    resource_type: str = ""
    resource_version: str = ""
    namespace: str = ""
    id: str = ""
    selector: str = ""
    stop: bool = False
    mode: str = ""
    debounce_ms: int = 0

    @property
    def name(self) -> tuple[str, str, str, str, str]:
        """What tells subscriptions of one WebSocket apart, and names the one to stop."""
        return (self.resource_type, self.namespace, self.id, self.selector, self.mode)

    def is_about(self, key: ObjectKey) -> bool:
        """Whether an object's key is among those that were asked for."""
        if self.id:
            return self.id in (str(key), key.name if not self.namespace else "") or (
                bool(self.namespace) and (key.namespace, key.name) == (self.namespace, self.id)
            )
        return not self.namespace or key.namespace == self.namespace

    def frame(self, event: str, **more: Any) -> Json:
        """A frame about it: `resource.start`, `resource.stop`, …"""
        said = {"namespace": self.namespace, "id": self.id, "selector": self.selector, "mode": self.mode}
        return {
            "name": f"resource.{event}",
            "resourceType": self.resource_type,
            **{name: value for name, value in said.items() if value},
            **more,
        }


_DECODER: Final = msgspec.json.Decoder(Subscription)


def parse(text: str) -> Subscription | str:
    """The subscription in a frame, or what is wrong with it."""
    try:
        asked = _DECODER.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return "this frame is no subscription: send {resourceType, …} as JSON"
    if not asked.resource_type:
        return "the subscription names no resourceType"
    if asked.mode not in ("", CHANGES):
        return f"there is no mode {asked.mode[:40]!r}: leave it out, or take {CHANGES}"
    return asked
