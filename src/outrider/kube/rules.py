"""What a set of RBAC rules covers (rbac.authorization.k8s.io/v1 PolicyRule). Pure but for `own_rules`.

It narrows what is shown to a user and judges what a role would give. It never grants: whatever is done with
its word is done as the user, and the API server has the last one.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from outrider.kube.client import Client

ALL = "*"

NOWHERE = "outrider-nowhere"
"""A namespace that does not exist: the rules that hold in it are those that hold everywhere."""

_PATH = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"


class Rule(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True):
    """Verbs on resources, or on paths that are none. Without `resource_names` it speaks of every object."""

    verbs: tuple[str, ...] = ()
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()
    non_resource_urls: tuple[str, ...] = msgspec.field(name="nonResourceURLs", default=())

    def speaks_of(self, verb: str, group: str, resource: str) -> bool:
        """Whether it lets `verb` be done to some object of `resource` (`pods`, `pods/log`)."""
        return (
            _matches(self.verbs, verb)
            and _matches(self.api_groups, group)
            and any(_resource_matches(held, resource) for held in self.resources)
        )


class Rules:
    """The rules of one user in one namespace, or everywhere."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules)

    def allows(self, verb: str, group: str, resource: str, name: str = "") -> bool:
        """Whether `verb` may be done to the object called `name`, or to every object where that is empty."""
        return any(
            rule.speaks_of(verb, group, resource) and (not rule.resource_names or name in rule.resource_names)
            for rule in self._rules
        )

    def allows_some(self, verb: str, group: str, resource: str) -> bool:
        """Whether `verb` may be done to any object at all."""
        return any(rule.speaks_of(verb, group, resource) for rule in self._rules)

    def names(self, verb: str, group: str, resource: str) -> frozenset[str] | None:
        """The names of the objects that `verb` may be done to; None stands for every object."""
        named: set[str] = set()
        for rule in self._rules:
            if rule.speaks_of(verb, group, resource):
                if not rule.resource_names:
                    return None
                named.update(rule.resource_names)
        return frozenset(name for name in named if name)

    def allows_path(self, verb: str, path: str) -> bool:
        """Whether `verb` may be done to a path that is no resource; `path` may itself end in `*`."""
        return any(
            _matches(rule.verbs, verb) and any(_path_matches(held, path) for held in rule.non_resource_urls)
            for rule in self._rules
        )

    def lacks(self, wanted: Iterable[Rule]) -> Iterator[Rule]:
        """What of the wanted rules is not covered, one verb on one thing at a time, as Kubernetes judges escalation."""
        for rule in wanted:
            for one in _singles(rule):
                verb, names = one.verbs[0], one.resource_names or ("",)
                if one.non_resource_urls:
                    covered = self.allows_path(verb, one.non_resource_urls[0])
                else:
                    covered = self.allows(verb, one.api_groups[0], one.resources[0], names[0])
                if not covered:
                    yield one


class Rights:
    """The rules of one user: those that hold everywhere, and those of the namespaces that were looked at."""

    def __init__(self, everywhere: Rules, within: Mapping[str, Rules] | None = None) -> None:
        self.everywhere = everywhere
        self._within = dict(within or {})

    def within(self, more: Mapping[str, Rules]) -> "Rights":
        """The same with the rules of further namespaces."""
        return Rights(self.everywhere, {**self._within, **more})

    def allows(self, verb: str, group: str, resource: str, *, name: str = "", namespace: str = "") -> bool:
        """Whether `verb` may be done to an object (every one, without `name`) in a namespace (all, without one)."""
        rules = self._within.get(namespace, self.everywhere)
        return rules.allows(verb, group, resource, name)

    def names(self, verb: str, group: str, resource: str, *, namespace: str = "") -> frozenset[str] | None:
        """The names of the objects in a namespace that `verb` may be done to; None stands for every object."""
        return self._within.get(namespace, self.everywhere).names(verb, group, resource)

    def allows_some(self, verb: str, group: str, resource: str) -> bool:
        """Whether `verb` may be done to any object, in any of the namespaces."""
        return any(
            rules.allows_some(verb, group, resource) for rules in (self.everywhere, *self._within.values())
        )


def _matches(held: tuple[str, ...], asked: str) -> bool:
    return ALL in held or asked in held


def _resource_matches(held: str, asked: str) -> bool:
    if held in (ALL, asked):
        return True
    _, slash, subresource = asked.partition("/")
    return bool(slash) and held == f"{ALL}/{subresource}"


def _path_matches(held: str, asked: str) -> bool:
    if held in (ALL, asked):
        return True
    return held.endswith(ALL) and asked.startswith(held.rstrip(ALL))


def _singles(rule: Rule) -> Iterator[Rule]:
    """The rule taken apart: one verb, one group, one resource, one name (or none), or one path each."""
    for verb in rule.verbs:
        for path in rule.non_resource_urls:
            yield Rule(verbs=(verb,), non_resource_urls=(path,))
        for group in rule.api_groups:
            for resource in rule.resources:
                for name in rule.resource_names or ("",):
                    names = (name,) if name else ()
                    yield Rule(
                        verbs=(verb,), api_groups=(group,), resources=(resource,), resource_names=names
                    )


class _Status(msgspec.Struct, rename="camel"):
    resource_rules: tuple[Rule, ...] | None = None
    non_resource_rules: tuple[Rule, ...] | None = None


async def own_rules(client: Client, namespace: str = NOWHERE) -> Rules:
    """The rules of the client's user in a namespace, and everywhere when none is named. Raises KubeError.

    Authorizers that cannot list their rules are missing from it: what they grant is not shown.
    """
    review: dict[str, Any] = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    answer = await client.post(_PATH, review)
    status = msgspec.convert(answer.get("status") or {}, _Status)
    return Rules((*(status.resource_rules or ()), *(status.non_resource_rules or ())))
