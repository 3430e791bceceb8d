"""Watches what `/v3` answers, and asks the API server whether the user's rights back every link and method."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from outrider.apis.views.view import View
from outrider.kube.client import Client
from outrider.kube.identity import Identity
from tests.support.norman_client import Reply, Send

_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_LINK_VERBS = {"update": ("update", "patch"), "remove": ("delete",)}
_METHOD_VERBS = {
    ("collectionMethods", "GET"): ("list", "get"),
    ("collectionMethods", "POST"): ("create",),
    ("resourceMethods", "GET"): ("get", "list"),
    ("resourceMethods", "PUT"): ("update", "patch"),
    ("resourceMethods", "DELETE"): ("delete",),
}

Claim = tuple[tuple[str, ...], str, str, str, str]
"""Any of these verbs, on the group, resource, namespace and name."""


class Recorder:
    """Wraps how a client sends; `unbacked` then names what it was shown without a right."""

    def __init__(
        self, client: Client, views: Iterable[View], identity: Identity, *, namespaces: Iterable[str] = ()
    ) -> None:
        self._client = client
        self._views = {view.type: view for view in views}
        self._identity = identity
        self._namespaces = ("", *namespaces)
        self._seen: dict[Claim, str] = {}

    def watching(self, send: Send) -> Send:
        """The same way to send, watched."""

        async def run(method: str, path: str, body: Any) -> Reply:
            reply = await send(method, path, body)
            if reply.body and reply.headers.get("content-type", "").startswith("application/json"):
                for part in _parts(reply.json()):
                    self._note(part, f"{method} {path}")
            return reply

        return run

    def _note(self, part: dict[str, Any], where: str) -> None:
        if part.get("type") == "schema":
            return self._note_schema(part, where)
        view = self._views.get(part.get("baseType", ""))
        if view is None or view.store is not None or "links" not in part or "data" in part:
            return None
        namespace, _, name = part["id"].rpartition(":")
        for link, verbs in _LINK_VERBS.items():
            if link in part["links"]:
                claim = (verbs, view.kind.group, view.kind.plural, namespace, name)
                self._seen[claim] = f"{where}: link {link} of {part['type']} {part['id']}"
        for action in view.actions:
            if action.name in part["actions"] and action.need is not None and not action.need.resource:
                claim = ((action.need.verb,), view.kind.group, view.kind.plural, namespace, name)
                self._seen[claim] = f"{where}: action {action.name} of {part['type']} {part['id']}"
        return None

    def _note_schema(self, part: dict[str, Any], where: str) -> None:
        view = self._views.get(part["id"])
        if view is None or view.store is not None:
            return
        for (field, method), verbs in _METHOD_VERBS.items():
            if method in part[field]:
                claim = (verbs, view.kind.group, view.kind.plural, "*", "*")
                self._seen[claim] = f"{where}: {method} in {field} of {part['id']}"

    async def unbacked(self) -> list[str]:
        """What was shown and the API server would refuse; empty when all is well."""
        return [where for claim, where in self._seen.items() if not await self._backed(claim)]

    @property
    def noted(self) -> int:
        """How many different rights were shown."""
        return len(self._seen)

    async def _backed(self, claim: Claim) -> bool:
        verbs, group, plural, namespace, name = claim
        if namespace == "*":
            return await self._backed_somewhere(verbs, group, plural)
        for verb in verbs:
            if await self._allowed(verb, group, plural, namespace, name):
                return True
        return False

    async def _backed_somewhere(self, verbs: tuple[str, ...], group: str, plural: str) -> bool:
        rules = await self._rules()
        return any(
            set(verbs) & {*rule.get("verbs", ()), *(verbs if "*" in rule.get("verbs", ()) else ())}
            and {group, "*"} & set(rule.get("apiGroups", ()))
            and {plural, "*"} & set(rule.get("resources", ()))
            for rule in rules
        )

    async def _rules(self) -> list[dict[str, Any]]:
        rules: list[dict[str, Any]] = []
        as_user = self._client.as_user(self._identity)
        for namespace in self._namespaces:
            answer = await as_user.post(
                "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
                {
                    "apiVersion": "authorization.k8s.io/v1",
                    "kind": "SelfSubjectRulesReview",
                    "spec": {"namespace": namespace or "nowhere"},
                },
            )
            rules += answer["status"].get("resourceRules") or []
        return rules

    async def _allowed(self, verb: str, group: str, plural: str, namespace: str, name: str) -> bool:
        attributes = {
            "verb": verb,
            "group": group,
            "resource": plural,
            "namespace": namespace,
            "name": name,
        }
        answer = await self._client.post(
            _REVIEWS,
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {
                    "user": self._identity.user,
                    "groups": list(self._identity.groups),
                    "resourceAttributes": attributes,
                },
            },
        )
        return answer["status"].get("allowed") is True


def _parts(content: Any) -> Iterator[dict[str, Any]]:
    """The resources and schemas in an answer."""
    if not isinstance(content, dict):
        return
    yield content
    data = content.get("data")
    if content.get("type") == "collection" and isinstance(data, list):
        for entry in data:
            yield from _parts(entry)
