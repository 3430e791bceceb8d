"""What role templates allow, with all that they inherit. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from outrider.apis.management.group import GROUP
from outrider.apis.management.policy_rule import PolicyRule
from outrider.apis.management.role_template import RoleTemplate
from outrider.kube.rules import Rule, Rules

Held = Sequence[PolicyRule]


class Templates:
    """Role templates by name; `external` has the rules of the management cluster's own ClusterRoles, by name.

    A template that is inherited but not there adds nothing, and one that inherits from itself does so once.
    """

    def __init__(self, templates: Mapping[str, RoleTemplate], external: Mapping[str, Held]) -> None:
        self._templates = templates
        self._external = external
        self._closures: dict[str, tuple[RoleTemplate, ...]] = {}
        self._rules: dict[str, Rules] = {}

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


def as_rules(rules: Iterable[PolicyRule]) -> Rules:
    """The rules, to ask what they cover."""
    return Rules(msgspec.convert(msgspec.to_builtins(rule), Rule) for rule in rules)
