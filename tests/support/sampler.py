"""Reads a value over and over while something else goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Sampler(Generic[T]):
    """Calls `read` in a thread every `pause` seconds as long as the block lasts; `seen` holds what it returned."""

    def __init__(self, read: Callable[[], T], pause: float) -> None:
        self._read = read
        self._pause = pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.seen: list[T] = []

    def __enter__(self) -> Sampler[T]:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._stop.wait(self._pause):
            self.seen.append(self._read())
