"""Runs an embedded cluster on an event loop of its own, so that tests on other loops share it."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.embedded.commands import DOWNSTREAM_CONTROLLERS, MANAGEMENT_CONTROLLERS
from outrider.kube.embedded.layout import Layout

T = TypeVar("T")

_START = 120.0
_STOP = 60.0


@contextmanager
def hosted(cluster: EmbeddedCluster) -> Iterator[EmbeddedCluster]:
    """Starts the cluster in a thread for the length of the block; its children die with that thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=_serve, args=(loop,), name="embedded cluster", daemon=True)
    thread.start()
    try:
        _call(loop, cluster.start(), _START)
        try:
            yield cluster
        finally:
            _call(loop, cluster.stop(), _STOP)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_STOP)


def plane(
    paths: pytest.TempPathFactory, folder: str, binary: Path, *, name: str, controllers: Sequence[str]
) -> Iterator[EmbeddedCluster]:
    """What a fixture yields: a control plane that forgets what it held when it stops."""
    place = paths.mktemp(folder)
    with hosted(
        EmbeddedCluster(place, durable=False, controllers=controllers, name=name, binary=binary)
    ) as cluster:
        yield cluster
    drop_state(place)


def management_plane(paths: pytest.TempPathFactory, folder: str, binary: Path) -> Iterator[EmbeddedCluster]:
    """One with a management cluster's controllers."""
    yield from plane(paths, folder, binary, name="tests", controllers=MANAGEMENT_CONTROLLERS)


def downstream_plane(paths: pytest.TempPathFactory, folder: str, binary: Path) -> Iterator[EmbeddedCluster]:
    """One with the controllers of any other cluster."""
    yield from plane(paths, folder, binary, name="downstream", controllers=DOWNSTREAM_CONTROLLERS)


def drop_state(data_dir: Path) -> None:
    """Removes the state of a stopped cluster, 130 MB of disk; its logs stay for whoever must look."""
    shutil.rmtree(Layout(data_dir).etcd, ignore_errors=True)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.get_loop().run_forever()


def _call(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], timeout: float) -> T:
    return asyncio.run_coroutine_threadsafe(work, loop).result(timeout)
