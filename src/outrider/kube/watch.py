"""The watch stream: JSON lines, each an event about one object."""

from typing import Any, Generic, Literal, TypeVar, cast

import msgspec

from outrider.kube import errors
from outrider.kube.kind import Kind, key_of_json
from outrider.kube.meta import ObjectKey

T = TypeVar("T")

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "REJECTED"]
_CHANGES = ("ADDED", "MODIFIED", "DELETED")


class WatchEvent(msgspec.Struct, Generic[T], kw_only=True):
    """One event.

    ADDED, MODIFIED and DELETED carry ``object``. BOOKMARK carries only the ``resource_version`` to resume
    from. REJECTED stands for a change that left an object which the kind's type cannot hold: ``key`` names it,
    ``reason`` says why. A DELETED event of such an object has no ``object``, only the ``key``.
    """

    type: EventType
    object: T | None = None
    resource_version: str = ""
    key: ObjectKey = ObjectKey("", "")
    reason: str = ""


class _Line(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Version(msgspec.Struct, rename="camel"):
    resource_version: str = ""


class _Versioned(msgspec.Struct):
    metadata: _Version = msgspec.field(default_factory=_Version)


_LINE = msgspec.json.Decoder(_Line)
_VERSIONED = msgspec.json.Decoder(_Versioned)


class LineSplitter:
    """Cuts a byte stream into lines of at most ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that ``chunk`` completes, without their ends; DecodeError for one too long."""
        *ends, rest = chunk.split(b"\n")
        lines: list[bytes] = []
        for end in ends:
            self._add(end)
            line = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self._parts, self._size = [], 0
            if line and not line.isspace():
                lines.append(line)
        if rest:
            self._add(rest)
        return lines

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._limit:
            raise errors.DecodeError(f"a watch event is larger than {self._limit} bytes")
        self._parts.append(part)


def decode_event(kind: Kind[T], line: bytes) -> WatchEvent[T]:
    """Decode one line. Raises the ApiError that an ERROR event carries (Gone for 410), or DecodeError."""
    try:
        event = _LINE.decode(line)
    except msgspec.MsgspecError as error:
        raise errors.DecodeError(f"cannot read a watch event of {kind.plural}: {error}") from None
    if event.type == "BOOKMARK":
        return WatchEvent(type="BOOKMARK", resource_version=_version(event.object))
    if event.type == "ERROR":
        raise _error(event.object)
    if event.type not in _CHANGES:
        raise errors.DecodeError(f"a watch of {kind.plural} sent an event of unknown type {event.type!r}")
    try:
        obj = kind.decode(event.object)
    except errors.DecodeError as error:
        return WatchEvent(
            type="DELETED" if event.type == "DELETED" else "REJECTED",
            key=key_of_json(event.object),
            resource_version=_version(event.object),
            reason=str(error),
        )
    return WatchEvent(
        type=cast(EventType, event.type),
        object=obj,
        resource_version=kind.resource_version(obj),
        key=kind.key(obj),
    )


def _version(data: msgspec.Raw) -> str:
    try:
        return _VERSIONED.decode(data).metadata.resource_version
    except msgspec.MsgspecError:
        return ""


def _error(data: msgspec.Raw) -> errors.KubeError:
    try:
        status = msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.MsgspecError:
        return errors.DecodeError("a watch ended with an error that cannot be read")
    return errors.from_status(status)
