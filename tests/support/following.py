"""Follows what becomes of objects in a cluster, from the outside."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections import Counter
from types import TracebackType

from tests.support.door import Door

_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


class Following:
    """A watch in a thread: counts (event, name) of what happens at `path` from the beginning of the block."""

    def __init__(self, door: Door, path: str) -> None:
        self.seen: Counter[tuple[str, str]] = Counter()
        listed = door.get(path).json()
        separator = "&" if "?" in path else "?"
        version = listed["metadata"]["resourceVersion"]
        self._connection = door.connect()
        self._connection.timeout = 600
        target = f"{door.prefix}{path}{separator}watch=true&resourceVersion={version}"
        self._connection.request("GET", target, headers=door.headers({"Accept": _METADATA}))
        self._socket = self._connection.sock
        self._answer = self._connection.getresponse()
        self._thread = threading.Thread(target=self._read, name="following", daemon=True)

    def __enter__(self) -> Following:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._answer.close()
        self._connection.close()

    def names(self, event: str) -> set[str]:
        """What had at least one of these events."""
        return {name for kind, name in list(self.seen) if kind == event}

    def repeated(self) -> dict[tuple[str, str], int]:
        """What happened to one object more than once."""
        return {key: count for key, count in list(self.seen.items()) if count > 1}

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            while line := self._answer.readline():
                event = json.loads(line)
                self.seen[event["type"], event["object"]["metadata"]["name"]] += 1
