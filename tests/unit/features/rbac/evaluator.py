"""What an API server with these RBAC objects would allow: aggregation, templates of namespaces, bindings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from outrider.delivery.entries import Entry, instance

Json = dict[str, Any]


class Cluster:
    """A cluster's RBAC after its agent applied the entries; `native` are its own ClusterRoles by name."""

    def __init__(
        self,
        entries: Iterable[Entry],
        *,
        projects: Mapping[str, str],
        native: Mapping[str, list[Json]],
    ) -> None:
        self.objects: dict[tuple[str, str, str], Json] = {}
        self._known: dict[tuple[str, str, str], list[Json]] = {}
        for name, rules in native.items():
            self._put({"kind": "ClusterRole", "metadata": {"name": name}, "rules": rules})
        for entry in entries:
            made = (
                [entry]
                if not entry.project
                else [instance(entry, ns) for ns, project in projects.items() if project == entry.project]
            )
            for one in made:
                self._apply(one)

    def _put(self, obj: Json) -> None:
        metadata = obj["metadata"]
        self.objects[obj["kind"], metadata.get("namespace", ""), metadata["name"]] = obj

    def _apply(self, entry: Entry) -> None:
        metadata = entry.object["metadata"]
        key = (entry.object["kind"], metadata.get("namespace", ""), metadata["name"])
        held = self.objects.get(key)
        if entry.expects == "existing":
            if held is None:
                return
            labels = {**held["metadata"].get("labels", {}), **metadata.get("labels", {})}
            self._put({**held, "metadata": {**held["metadata"], "labels": labels}})
            return
        assert held is None or entry.expects != "unclaimed", f"{key} is somebody else's"
        self._put(entry.object)

    def rules(self, kind: str, namespace: str, name: str) -> list[Json]:
        key = (kind, namespace, name)
        if key not in self._known:
            self._known[key] = self._find(kind, namespace, name, 0)
        return self._known[key]

    def _find(self, kind: str, namespace: str, name: str, depth: int) -> list[Json]:
        role = self.objects.get((kind, namespace, name))
        if role is None or depth > 12:
            return []
        selectors = role.get("aggregationRule", {}).get("clusterRoleSelectors")
        if selectors is None:
            return list(role.get("rules") or [])
        found = []
        for (other, _, title), obj in self.objects.items():
            labels = obj["metadata"].get("labels", {})
            if other == "ClusterRole" and any(
                all(labels.get(k) == v for k, v in one["matchLabels"].items()) for one in selectors
            ):
                found += self._find(other, "", title, depth + 1)
        return found

    def allows(self, user: str, groups: Iterable[str], ask: Any) -> bool:
        whom = {("User", user), *(("Group", group) for group in groups)}
        for (kind, namespace, _), obj in self.objects.items():
            if kind not in ("ClusterRoleBinding", "RoleBinding"):
                continue
            if kind == "RoleBinding" and namespace != ask.namespace:
                continue
            if not whom & {(one["kind"], one["name"]) for one in obj["subjects"]}:
                continue
            ref = obj["roleRef"]
            place = namespace if ref["kind"] == "Role" else ""
            if any(_covers(rule, ask) for rule in self.rules(ref["kind"], place, ref["name"])):
                return True
        return False


def _covers(rule: Json, ask: Any) -> bool:
    def has(field: str, value: str) -> bool:
        return value in (rule.get(field) or ()) or "*" in (rule.get(field) or ())

    named = rule.get("resourceNames") or ()
    return (
        has("verbs", ask.verb)
        and has("apiGroups", ask.group)
        and has("resources", ask.resource)
        and (not named or ask.name in named)
    )
