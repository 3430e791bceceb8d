"""Runs a coroutine of this process in the node's network."""

from __future__ import annotations

import asyncio
import ctypes
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tests.support.pods.node import RunningNode

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def run_inside(node: RunningNode, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs it on a loop of its own, in a thread that has entered the network; returns what it returns.

    A network belongs to a thread, not to a process, and a thread that is started belongs to its starter's.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            _enter(node.pid)
            results.append(asyncio.run(work()))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=target, name="inside the node's network")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _enter(pid: int) -> None:
    descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(descriptor, _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, f"the network of process {pid} cannot be entered: {os.strerror(number)}")
    finally:
        os.close(descriptor)
