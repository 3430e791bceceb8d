"""All views, found by root and collection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from outrider.apis.views.form import Form
from outrider.apis.views.view import Context, View

RETIRED: Final[Mapping[str, str]] = {
    plural.lower(): plural
    for plural in (
        "catalogs", "clusterAlertGroups", "clusterAlertRules", "clusterAlerts", "clusterCatalogs", "clusterLoggings",
        "clusterMonitorGraphs", "clusterScans", "clusterTemplateRevisions", "clusterTemplates", "composeConfigs",
        "dynamicSchemas", "etcdBackups", "globalDnses", "globalDnsProviders", "kontainerDriverVersions",
        "managementSecrets", "monitorMetrics", "multiClusterApps", "multiClusterAppRevisions", "nodePools",
        "nodeTemplates", "notifiers", "podSecurityPolicyTemplates", "pipelines", "projectAlertGroups",
        "projectAlertRules", "projectAlerts", "projectCatalogs", "projectLoggings", "projectMonitorGraphs",
        "projectNetworkPolicies", "rkeAddons", "rkeK8sServiceOptions", "rkeK8sSystemImages", "templates",
        "templateVersions",
    )
}  # fmt: skip
"""Collections that the reference gave up: old clients still ask for them, and get an empty list."""


class Registry:
    """The forms of the views that a server has. Raises ValueError for two of one name at one root."""

    def __init__(self, views: Iterable[View]) -> None:
        self._forms: dict[tuple[Context, str], Form] = {}
        for view in views:
            key = (view.context, view.plural.lower())
            if key in self._forms:
                raise ValueError(f"two views are called {view.plural} at one root")
            self._forms[key] = Form(view)

    def find(self, context: Context, plural: str) -> Form | None:
        """The form of a collection, whatever its case."""
        return self._forms.get((context, plural.lower()))

    def of_type(self, context: Context, name: str) -> Form | None:
        """The form of a type, whatever its case."""
        wanted = name.lower()
        return next((form for form in self.all(context) if form.view.type.lower() == wanted), None)

    def all(self, context: Context) -> list[Form]:
        """The forms of a root, in the order in which they were declared."""
        return [form for (held, _), form in self._forms.items() if held is context]

    def is_below(self, plural: str) -> bool:
        """Whether a cluster's or a project's root has such a collection."""
        return any(self.find(context, plural) for context in (Context.CLUSTER, Context.PROJECT))
