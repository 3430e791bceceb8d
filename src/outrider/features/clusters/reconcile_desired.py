"""Sends every connected cluster what the server wants in it, whenever that changes.

Runs on the leader, for the tunnels of its own gateway; agents keep one to every replica. Each gets the whole
state: it is small until roles are delivered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

import msgspec

from outrider.apis.management.cluster import Cluster
from outrider.features.clusters.desired import desired_objects
from outrider.features.clusters.manifests import Manifests
from outrider.features.clusters.registry import Registry
from outrider.features.clusters.sessions import Session, Sessions
from outrider.features.clusters.settings import ClusterSettings
from outrider.kube.meta import ObjectKey
from outrider.link.messages import Message, ToAgent
from outrider.runtime.controller import DONE, Result
from outrider.runtime.store import Lister
from outrider.tunnel.reports import DesiredState, encode


class DesiredReconciler:
    """One cluster at a time. `send` hands a message to this replica's gateway; `epoch` is the leader's."""

    def __init__(
        self,
        *,
        clusters: Lister[Cluster],
        sessions: Sessions,
        registry: Registry,
        manifests: Manifests,
        settings: ClusterSettings,
        administrators: Callable[[], Iterable[str]],
        send: Callable[[Message], None],
        epoch: Callable[[], int],
    ) -> None:
        self._clusters = clusters
        self._sessions = sessions
        self._registry = registry
        self._manifests = manifests
        self._settings = settings
        self._administrators = administrators
        self._send = send
        self._epoch = epoch
        self._counter = 0
        self._sent: dict[str, dict[int, tuple[int, bytes]]] = {}

    async def reconcile(self, key: ObjectKey) -> Result:
        """Send one cluster's state to each of its tunnels that has another one."""
        cluster = self._clusters.get(key)
        sessions = self._sessions.of(key.name)
        sent = self._sent.setdefault(key.name, {})
        for number in set(sent) - {session.number for session in sessions}:
            del sent[number]
        if cluster is None or cluster.is_deleting or not sessions:
            self._sent.pop(key.name, None)
            return DONE
        for session in sessions:
            objects = await self._objects(cluster, session)
            # Another leader may have said something else meanwhile: a new epoch says everything again
            mark = self._epoch(), hashlib.sha256(msgspec.json.encode(objects)).digest()
            if objects and sent.get(session.number) != mark:
                self._deliver(key.name, session.number, objects)
                sent[session.number] = mark
        return DONE

    async def _objects(self, cluster: Cluster, session: Session) -> list[dict[str, object]]:
        """The objects; none while the credential is unknown, so that it is never pruned for that."""
        name = cluster.metadata.name
        registration = self._registry.live_registration(name, session.registration)
        held = self._registry.held(name, registration) if registration else None
        server_url = self._settings.value("server-url")
        if held is None or not server_url:
            return []
        manifest = await self._manifests.make(cluster, held.token, server_url=server_url)
        former = self._registry.former_names(name, registration)
        return desired_objects(self._administrators(), manifest, former)

    def _deliver(self, cluster: str, session: int, objects: list[dict[str, object]]) -> None:
        self._counter += 1
        version = {"epoch": self._epoch(), "counter": self._counter}
        state = DesiredState(**version, objects=objects, complete=True)
        self._send(ToAgent(cluster=cluster, session=session, body=msgspec.Raw(encode(state))))
