"""Watches what `/v1` answers, and asks the API server whether the user's rights back every link and method."""

from __future__ import annotations

from typing import Any

from tests.support.recorder import Recorder

_LINKS = {"update": "update", "patch": "patch", "remove": "delete"}
_METHODS = {
    ("collectionMethods", "GET"): ("list", "get"),
    ("collectionMethods", "POST"): ("create",),
    ("resourceMethods", "GET"): ("get", "list"),
    ("resourceMethods", "PUT"): ("update",),
    ("resourceMethods", "PATCH"): ("patch",),
    ("resourceMethods", "DELETE"): ("delete",),
}


class SteveRecorder(Recorder):
    """Knows a kind by the schema that it saw first."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._kinds: dict[str, tuple[str, str]] = {}

    def _note(self, part: dict[str, Any], where: str) -> None:
        if part.get("type") == "schema":
            return self._note_schema(part, where)
        if part.get("type") not in self._kinds or "links" not in part:
            return None
        group, plural = self._kinds[part["type"]]
        namespace, _, name = part["id"].rpartition("/")
        for link, verb in _LINKS.items():
            if link in part["links"]:
                claim = ((verb,), group, plural, namespace, name)
                self._seen[claim] = f"{where}: link {link} of {part['type']} {part['id']}"
        return None

    def _note_schema(self, part: dict[str, Any], where: str) -> None:
        attributes = part["attributes"]
        if "kind" not in attributes:
            return
        group, plural = self._kinds[part["id"]] = attributes["group"], attributes["resource"]
        for (field, method), verbs in _METHODS.items():
            # everybody may list clusters, and sees those that are theirs (contract, clusters §4.4)
            open_list = plural == "clusters" and (field, method) == ("collectionMethods", "GET")
            if method in part[field] and not open_list:
                self._seen[verbs, group, plural, "*", "*"] = f"{where}: {method} in {field} of {part['id']}"
        for verb, grants in attributes["access"].items():
            for grant in grants:
                name = grant["resourceName"].replace("*", "")
                namespace = grant["namespace"].replace("*", "")
                self._seen[(verb,), group, plural, namespace, name] = (
                    f"{where}: {verb} {grant} of {part['id']}"
                )
