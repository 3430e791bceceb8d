"""Sources that leave out changes of no interest: most events of a cluster are its own status."""

from __future__ import annotations

from typing import TypeVar

from outrider.apis.management.cluster import Cluster
from outrider.features.clusters.reconcile_delivery import same_delivery
from outrider.features.clusters.reconcile_upgrades import same_standing
from outrider.kube.meta import Object, ObjectKey
from outrider.runtime.controller import Source
from outrider.runtime.informer import Event

T = TypeVar("T", bound=Object)


class SpecSource(Source[T, ObjectKey]):
    """Tells of objects that came, went, or changed in more than their status."""

    def keys(self, event: Event[T]) -> set[ObjectKey]:
        """Return the keys that ``event`` concerns."""
        if event.old is not None and event.new is not None and same_but_for_status(event.old, event.new):
            return set()
        return super().keys(event)


class UpgradeSource(Source[Cluster, ObjectKey]):
    """Tells of clusters whose agent's image, or what is known of it, changed."""

    def keys(self, event: Event[Cluster]) -> set[ObjectKey]:
        """Return the keys that ``event`` concerns."""
        if event.old is not None and event.new is not None and same_standing(event.old, event.new):
            return set()
        return super().keys(event)


class DeliverySource(Source[Cluster, ObjectKey]):
    """Tells of clusters whose desired state was stamped, or reported on."""

    def keys(self, event: Event[Cluster]) -> set[ObjectKey]:
        """Return the keys that ``event`` concerns."""
        if event.old is not None and event.new is not None and same_delivery(event.old, event.new):
            return set()
        return super().keys(event)


def same_but_for_status(old: Object, new: Object) -> bool:
    """Whether two versions of an object with a status subresource differ in their status at most."""
    was, now = old.metadata, new.metadata
    return (was.uid, was.generation, was.deletion_timestamp, was.finalizers, was.labels, was.annotations) == (
        now.uid,
        now.generation,
        now.deletion_timestamp,
        now.finalizers,
        now.labels,
        now.annotations,
    )
