"""What somebody holds, and where: by the bindings that speak of them, and by RBAC of the management cluster. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from outrider.apis.management.group import LOCAL_CLUSTER
from outrider.features.rbac import gains
from outrider.features.rbac.gains import EVERYWHERE, HERE, REMOTE, WORKSPACES, Gain, Place
from outrider.features.rbac.global_roles import bound
from outrider.features.rbac.names import Subject
from outrider.features.rbac.world import Grant, World
from outrider.kube.identity import Identity
from outrider.kube.rules import Rule, Rules

_ACCOUNT = "system:serviceaccount:"


class Holdings:
    """What one user holds. `here` are their rules in namespaces of the management cluster, "" for everywhere."""

    def __init__(self, world: World, user: Identity, here: Mapping[str, Rules]) -> None:
        self._world = world
        self._user = user
        self._here = here
        self._known: dict[Place, Rules] = {}
        self._covered: dict[Gain, bool] = {}
        self._global = [
            gain
            for _, role, subject in bound(world)
            if concerns(subject, user)
            for gain in gains.of_global_role(world.templates, role, world.templates.rules)
        ]

    def at(self, place: Place) -> Rules:
        """The rules that they hold in a place."""
        if place not in self._known:
            self._known[place] = Rules(self._find(place))
        return self._known[place]

    def lacks(self, wanted: Iterable[Gain]) -> Iterator[Gain]:
        """What of it they do not hold, one rule at a time."""
        for gain in dict.fromkeys(wanted):
            # What many bindings give in one cluster is mostly the same, and mostly held in the whole of it
            if gain.place.project and self._covers(Gain(Place(gain.place.cluster), gain.rules)):
                continue
            if not self._covers(gain):
                for missing in self.at(gain.place).lacks(gain.rules):
                    yield Gain(gain.place, (missing,))

    def _covers(self, gain: Gain) -> bool:
        if gain not in self._covered:
            self._covered[gain] = next(self.at(gain.place).lacks(gain.rules), None) is None
        return self._covered[gain]

    def _find(self, place: Place) -> Iterator[Rule]:
        if place.cluster == HERE:
            yield from self._here.get(place.namespace, self._here[""])
            return
        if place.cluster == WORKSPACES:
            yield from self._here[""]
            yield from self._given(lambda one: one == place)
            return
        yield from self._given(lambda one: _within(one, place))
        if place.cluster == LOCAL_CLUSTER:
            yield from self._here[""]
        for grant in self._world.grants.get(place.cluster, ()):
            if concerns(grant.subject, self._user, local=place.cluster == LOCAL_CLUSTER):
                yield from self._of(grant, place)

    def _given(self, counts: Callable[[Place], bool]) -> Iterator[Rule]:
        """What global roles give there."""
        for gain in self._global:
            if counts(gain.place):
                yield from gain.rules

    def _of(self, grant: Grant, place: Place) -> Iterator[Rule]:
        templates = self._world.templates
        for gain in gains.of_binding(
            templates, grant.template, grant.cluster, grant.project, templates.rules
        ):
            if _within(gain.place, place):
                yield from gain.rules


def concerns(subject: Subject, user: Identity, *, local: bool = True) -> bool:
    """Whether a binding's subject is this user. Service accounts are known in their own cluster only (`local`)."""
    if subject.kind == "Group":
        return subject.name in user.groups
    if subject.kind == "ServiceAccount":
        return local and user.user == f"{_ACCOUNT}{subject.namespace}:{subject.name}"
    return subject.name == user.user


def _within(given: Place, place: Place) -> bool:
    """Whether what holds in the first place holds in the second, too."""
    clusters = {EVERYWHERE, place.cluster}
    if place.cluster not in (LOCAL_CLUSTER, EVERYWHERE):
        clusters.add(REMOTE)
    return (
        given.cluster in clusters
        and given.project in ("", place.project)
        and given.namespace in ("", place.namespace)
    )
