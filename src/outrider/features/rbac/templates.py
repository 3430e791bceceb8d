"""Role templates as ClusterRoles: each one's own rules, and an aggregator that adds what it inherits (auth §3.7). Pure.

The cluster itself fills aggregators, so a change of one template is a change of one ClusterRole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from outrider.apis.management.role_template import RoleTemplate
from outrider.delivery.entries import EXISTING, UNCLAIMED
from outrider.features.rbac.collection import Collection
from outrider.features.rbac.manifests import Manifest, aggregator, cluster_role
from outrider.features.rbac.names import AGGREGATES, RBAC, ROLE_OWNER, safe_concat
from outrider.features.rbac.projection import OF_CLUSTERS, OF_PROJECTS, projected, promoted
from outrider.features.rbac.tree import Held, Templates

_IN_CLUSTERS: Final = {"management.cattle.io/roletemplate-aggregation": "true"}
_HERE: Final = {"management.cattle.io/roletemplate-aggregation-mgmt": "true"}


class Family:
    """One kind of ClusterRole that is made of role templates: which rules count, and how it is called.

    `suffix` follows the template's name. With `external`, an external template's ClusterRole takes part.
    """

    def __init__(
        self,
        templates: Templates,
        suffix: str,
        rules_of: Callable[[RoleTemplate], Held],
        marks: dict[str, str],
        *,
        external: bool = False,
    ) -> None:
        self._templates = templates
        self._suffix = suffix
        self._rules_of = rules_of
        self._marks = marks
        self._external = external
        self._rules: dict[str, Held] = {}
        self._roles: dict[str, str] = {}

    def own(self, name: str) -> str:
        """Name of the ClusterRole with a template's own rules."""
        return safe_concat(name, self._suffix) if self._suffix else safe_concat(name)

    def aggregated(self, name: str) -> str:
        """Name of the ClusterRole with all that a template brings."""
        parts = (name, self._suffix, "aggregator") if self._suffix else (name, "aggregator")
        return safe_concat(*parts)

    def role_of(self, name: str) -> str:
        """The ClusterRole that gives all of a template; empty when there is nothing to give."""
        if name not in self._roles:
            says = any(self._says(one) for one in self._templates.closure(name))
            whole = name if self._is_bare(name) else self.aggregated(name)
            self._roles[name] = whole if says else ""
        return self._roles[name]

    def collect(self, names: Iterable[str], found: Collection) -> None:
        """All ClusterRoles that these templates need."""
        needed = {
            one.metadata.name: one
            for name in names
            if not self._is_bare(name)
            for one in self._templates.closure(name)
        }
        for template in needed.values():
            self._collect_one(template, found)

    def _collect_one(self, template: RoleTemplate, found: Collection) -> None:
        name = template.metadata.name
        if template.external and self._external:
            found.add(_labelled(name), expects=EXISTING, release=True)
        elif rules := self._own_rules(template):
            labels = self._labels(self.own(name), name)
            found.add(cluster_role(self.own(name), labels, rules), expects=UNCLAIMED)
        if not self.role_of(name):
            return
        parents = [self.aggregated(one.metadata.name) for one in self._inherited(template)]
        sources = [self.own(name), *parents] if self._says(template) else parents
        labels = self._labels(self.aggregated(name), name)
        found.add(aggregator(self.aggregated(name), labels, AGGREGATES, sources), expects=UNCLAIMED)

    def _inherited(self, template: RoleTemplate) -> list[RoleTemplate]:
        parents = self._templates.parents(template)
        return [one for one in parents if any(map(self._says, self._templates.closure(one.metadata.name)))]

    def _says(self, template: RoleTemplate) -> bool:
        return (self._external and template.external) or bool(self._own_rules(template))

    def _own_rules(self, template: RoleTemplate) -> Held:
        name = template.metadata.name
        if name not in self._rules:
            self._rules[name] = self._rules_of(template)
        return self._rules[name]

    def _is_bare(self, name: str) -> bool:
        """An external role that inherits nothing is bound as it is."""
        template = self._templates.get(name)
        return (
            self._external
            and template is not None
            and template.external
            and not self._templates.parents(template)
        )

    def _labels(self, name: str, template: str) -> dict[str, str]:
        return {AGGREGATES: name, ROLE_OWNER: safe_concat(template), **self._marks}


def in_cluster(templates: Templates) -> Family:
    """What a template allows in a cluster, or in the namespaces of a project."""
    return Family(templates, "", lambda one: one.rules or (), _IN_CLUSTERS, external=True)


def cluster_wide(templates: Templates) -> Family:
    """What a project's role allows of resources that are not in namespaces."""
    return Family(
        templates, "promoted", lambda one: () if one.external else promoted(one.rules or ()), _IN_CLUSTERS
    )


def of_cluster_here(templates: Templates) -> Family:
    """What a template allows in a cluster's namespace of the management cluster."""
    return Family(
        templates, "cluster-mgmt", lambda one: projected(templates.own_rules(one), OF_CLUSTERS), _HERE
    )


def of_project_here(templates: Templates) -> Family:
    """What a template allows in a project's namespace of the management cluster."""
    return Family(
        templates, "project-mgmt", lambda one: projected(templates.own_rules(one), OF_PROJECTS), _HERE
    )


def _labelled(name: str) -> Manifest:
    """Somebody else's ClusterRole, with the label by which aggregators find it."""
    labels = {AGGREGATES: safe_concat(name)}
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": labels},
    }
