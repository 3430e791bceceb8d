"""The columns of kinds' tables, cluster by cluster: learnt from lists, else asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from outrider.facade.v1.catalogue import Resource
from outrider.facade.v3.edge import gather
from outrider.kube.client import Client
from outrider.kube.errors import KubeError
from outrider.kube.kind import Kind
from outrider.kube.table import Column, TableKind

Name = tuple[str, str]
"""Group and plural of a kind."""

KEPT: Final = 300.0
"""Seconds after which columns are asked for again: a definition may have changed."""

MOST_CLUSTERS: Final = 256


class ColumnBook:
    """What is known of columns. They describe kinds and tell nothing of any object."""

    def __init__(self, *, kept: float = KEPT) -> None:
        self._kept = kept
        self._known: dict[str, dict[Name, tuple[float, Sequence[Column]]]] = {}

    def learn(self, cluster: str, kind: Kind[Any], columns: Sequence[Column]) -> None:
        """A list has shown the columns of a kind."""
        known = self._known.pop(cluster, {})
        known[kind.group, kind.plural] = (asyncio.get_running_loop().time(), columns)
        self._known[cluster] = known
        if len(self._known) > MOST_CLUSTERS:
            self._known.pop(next(iter(self._known)))

    async def read(
        self, cluster: str, client: Client, resources: Iterable[Resource], may: Callable[[Resource], bool]
    ) -> Mapping[Name, Sequence[Column]]:
        """The columns of kinds; those that nobody has shown yet are asked for, of kinds that `may` be listed."""
        now = asyncio.get_running_loop().time()
        known = self._known.get(cluster, {})
        wanted = [
            one.kind
            for one in resources
            if now - known.get((one.kind.group, one.kind.plural), (-self._kept, ()))[0] >= self._kept
            and may(one)
        ]
        await gather(partial(self._ask, cluster, client, kind) for kind in wanted)
        return {name: columns for name, (_, columns) in self._known.get(cluster, {}).items() if columns}

    async def _ask(self, cluster: str, client: Client, kind: Kind[Any]) -> None:
        pages = client.pages(TableKind(kind), limit=1)
        try:
            page = await anext(pages)
        except KubeError:
            return  # not theirs, or away: the schema says nothing of columns then
        finally:
            await pages.aclose()
        self.learn(cluster, kind, page.items[0].columns)
