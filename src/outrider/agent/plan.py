"""What has to be done to get from what was applied to what is wanted. Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec

from outrider.tunnel.reports import DesiredState, Failure

LABEL: Final = "outrider.cattle.io/delivered"
_FIRST: Final = {"Namespace": 0, "CustomResourceDefinition": 1}


class Ref(NamedTuple):
    """Names one object of any kind."""

    api_version: str
    kind: str
    namespace: str
    name: str


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the agent has applied: the version, and every object that it may have made."""

    epoch: int = 0
    counter: int = 0
    refs: tuple[Ref, ...] = ()

    @property
    def version(self) -> tuple[int, int]:
        """(leader epoch, counter); grows with every desired state."""
        return (self.epoch, self.counter)


class Plan(NamedTuple):
    """Objects to apply, in order; objects to delete, in order; why nothing is deleted, if it is refused."""

    apply: tuple[dict[str, Any], ...]
    prune: tuple[Ref, ...]
    failures: tuple[Failure, ...]


def is_older(state: DesiredState, record: Record) -> bool:
    """Whether something newer was applied already; an old state must not undo it."""
    return (state.epoch, state.counter) < record.version


def make_plan(state: DesiredState, record: Record) -> Plan:
    """What to do for `state` after `record`.

    A state that became empty or lost more than half of its objects prunes only when it is marked complete: a
    server that has not read everything yet must not empty a cluster.
    """
    objects, failures = _sound(state.objects)
    objects.sort(key=lambda obj: _FIRST.get(obj["kind"], 2))
    wanted = {ref_of(obj) for obj in objects}
    left = [ref for ref in record.refs if ref not in wanted]
    # what depends on a namespace or a definition goes before it
    left.sort(key=lambda ref: _FIRST.get(ref.kind, 2), reverse=True)
    if left and not state.complete and len(left) * 2 > len(record.refs):
        failures.append(_refusal(len(left), len(record.refs)))
        left = []
    return Plan(tuple(labelled(obj) for obj in objects), tuple(left), tuple(failures))


def ref_of(obj: dict[str, Any]) -> Ref:
    """The name of an object; a KeyError means that it has none."""
    metadata = obj["metadata"]
    return Ref(obj["apiVersion"], obj["kind"], metadata.get("namespace") or "", metadata["name"])


def labelled(obj: dict[str, Any]) -> dict[str, Any]:
    """The object with the label that marks it as ours to delete."""
    metadata = obj["metadata"]
    return {**obj, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), LABEL: "true"}}}


def failure(ref: Ref, message: str) -> Failure:
    """A failure of one object."""
    return Failure(
        api_version=ref.api_version, kind=ref.kind, name=ref.name, namespace=ref.namespace, message=message
    )


def merged(record: Record, wanted: Iterable[Ref]) -> tuple[Ref, ...]:
    """Every object that exists or may exist once `wanted` is being applied."""
    return tuple(dict.fromkeys((*record.refs, *wanted)))


def _sound(objects: Iterable[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[Failure]]:
    sound: dict[Ref, dict[str, Any]] = {}
    failures: list[Failure] = []
    for obj in objects:
        try:
            ref = ref_of(obj)
            complete = (
                all(isinstance(part, str) for part in ref) and ref.api_version and ref.kind and ref.name
            )
        except (KeyError, TypeError, AttributeError):
            complete = False
        if not complete:
            failures.append(
                Failure(
                    api_version="", kind="", name="", message="an object without apiVersion, kind or name"
                )
            )
        else:
            sound[ref] = obj
    return list(sound.values()), failures


def _refusal(left: int, held: int) -> Failure:
    return Failure(
        api_version="",
        kind="DesiredState",
        name="",
        message=f"{left} of {held} objects would be deleted; that needs a state that is marked complete",
    )
