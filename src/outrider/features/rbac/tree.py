"""What role templates allow, with all that they inherit. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from outrider.apis.management.group import GROUP
from outrider.apis.management.policy_rule import PolicyRule
from outrider.apis.management.role_template import RoleTemplate
from outrider.kube.rules import Rule, Rules

Held = Sequence[PolicyRule]

EVERYTHING: Final = (
    Rule(verbs=("*",), api_groups=("*",), resources=("*",)),
    Rule(verbs=("*",), non_resource_urls=("*",)),
)


class Templates:
    """Role templates by name; `external` has the rules of the management cluster's own ClusterRoles, by name.

    A template that is inherited but not there adds nothing, and one that inherits from itself does so once.
    """

    def __init__(self, templates: Mapping[str, RoleTemplate], external: Mapping[str, Held]) -> None:
        self._templates = templates
        self._external = external
        self._closures: dict[str, tuple[RoleTemplate, ...]] = {}
        self._rules: dict[str, Rules] = {}
        self._feared: dict[str, tuple[Rule, ...]] = {}

    def get(self, name: str) -> RoleTemplate | None:
        """The template, or None."""
        return self._templates.get(name)

    def closure(self, name: str) -> tuple[RoleTemplate, ...]:
        """The template and all that it inherits from, each once, itself first; empty when there is none."""
        if name not in self._closures:
            self._closures[name] = tuple(self._walk(name))
        return self._closures[name]

    def parents(self, template: RoleTemplate) -> list[RoleTemplate]:
        """The templates that it names and that are there, each once."""
        names = dict.fromkeys(template.role_template_names or ())
        return [self._templates[name] for name in names if name in self._templates]

    def own_rules(self, template: RoleTemplate) -> Held:
        """What it allows by itself, as far as it is known here: an external one as its rules are stated."""
        if not template.external:
            return template.rules or ()
        return template.external_rules or self._external.get(template.metadata.name, ())

    def feared_rules(self, name: str) -> tuple[Rule, ...]:
        """All that it may allow, for those who judge it: everything, where nobody knows what an external one holds."""
        if name not in self._feared:
            self._feared[name] = tuple(rule for one in self.closure(name) for rule in self._fear(one))
        return self._feared[name]

    def _fear(self, template: RoleTemplate) -> Iterable[Rule]:
        known = template.external_rules or template.metadata.name in self._external
        return as_rules(self.own_rules(template)) if known or not template.external else EVERYTHING

    def having(self, template: RoleTemplate, native: Held | None) -> Templates:
        """The same with one more template, or another one of its name; `native` are the rules of its ClusterRole."""
        name = template.metadata.name
        external = {**self._external, **({} if native is None else {name: native})}
        return Templates({**self._templates, name: template}, external)

    def cycle(self, name: str) -> tuple[str, ...]:
        """The shortest way by which a template inherits from itself, back to its name; empty when it does not."""
        reached = {name: ""}
        waiting = deque([name])
        while waiting:
            child = waiting.popleft()
            template = self._templates.get(child)
            for parent in (template.role_template_names or ()) if template else ():
                if parent == name:
                    return (*_way(child, reached), name)
                if parent not in reached:
                    reached[parent] = child
                    waiting.append(parent)
        return ()

    def rules(self, name: str) -> Rules:
        """All that it allows."""
        if name not in self._rules:
            self._rules[name] = as_rules(rule for one in self.closure(name) for rule in self.own_rules(one))
        return self._rules[name]

    def owns_cluster(self, name: str, cluster: str) -> bool:
        """Whether it makes its holders owners of the cluster that it is given in."""
        return name == "cluster-owner" or self.rules(name).allows("own", GROUP, "clusters", cluster)

    def owns_project(self, name: str, project: str) -> bool:
        """Whether it makes its holders owners of the project that it is given in."""
        return name == "project-owner" or self.rules(name).allows("own", GROUP, "projects", project)

    def _walk(self, name: str) -> Iterable[RoleTemplate]:
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            template = self._templates.get(waiting.pop(0))
            if template is None or template.metadata.name in seen:
                continue
            seen.add(template.metadata.name)
            yield template
            waiting += template.role_template_names or ()


def _way(name: str, reached: Mapping[str, str]) -> tuple[str, ...]:
    way = [name]
    while parent := reached[way[-1]]:
        way.append(parent)
    return tuple(reversed(way))


def as_rules(rules: Iterable[PolicyRule]) -> Rules:
    """The rules, to ask what they cover."""
    return Rules(msgspec.convert(msgspec.to_builtins(rule), Rule) for rule in rules)
