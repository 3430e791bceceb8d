"""`importYaml`: manifests applied in a cluster as the user who sends them (contract: clusters §4.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from outrider.apis.norman import NormanError
from outrider.apis.views.view import Json
from outrider.delivery.discovery import Discovery
from outrider.kit import yaml
from outrider.kube.builtin import NAMESPACES
from outrider.kube.client import Client
from outrider.kube.errors import ApiError, NotFound

OUTPUT: Final = "importYamlOutput"
MOST: Final = 500
"""Objects in one request, at most."""

PROJECT: Final = "field.cattle.io/projectId"


class Import:
    """One request: into which namespace, and which project, its objects go. Raises NormanError (422)."""

    def __init__(self, cluster: str, body: Mapping[str, Any]) -> None:
        fields = {name: body.get(name) or "" for name in ("namespace", "defaultNamespace", "projectId")}
        fields["projectId"] = fields["projectId"] or body.get("projectName") or ""
        for name, value in fields.items():
            if not isinstance(value, str):
                raise NormanError(422, f"{name} takes text", code="InvalidFormat", field=name)
        self.namespace = fields["namespace"]
        self.default = fields["defaultNamespace"] or "default"
        self.project = fields["projectId"]
        if self.project and self.project.partition(":")[0] != cluster:
            raise NormanError(
                422,
                "projectId names a project of another cluster",
                code="InvalidReference",
                field="projectId",
            )
        self.objects = _parsed(body.get("yaml"))

    def placed(self, obj: Json, *, namespaced: bool) -> Json:
        """An object with its namespace. Raises NormanError (400) for one that names another than was asked for."""
        metadata = obj["metadata"]
        if not namespaced:
            return obj
        given = metadata.get("namespace") or ""
        if self.namespace and given and given != self.namespace:
            name = f"{obj['kind']}/{metadata['name']}"
            raise NormanError(400, f"{name} is of namespace {given}, not of {self.namespace}")
        return obj | {"metadata": metadata | {"namespace": given or self.namespace or self.default}}

    def in_project(self, namespace: Json) -> Json:
        """A Namespace object, marked as the project's."""
        if not self.project:
            return namespace
        metadata = namespace["metadata"]
        name = self.project.partition(":")[2]
        return namespace | {
            "metadata": metadata
            | {
                "labels": (metadata.get("labels") or {}) | {PROJECT: name},
                "annotations": (metadata.get("annotations") or {}) | {PROJECT: self.project},
            }
        }


async def import_yaml(client: Client, wanted: Import) -> Json:
    """Apply all objects, namespaces first, as the client's user; the first refusal ends it, and says how far it came.

    Raises NormanError with the API server's status.
    """
    discovery = Discovery(client)
    said: list[str] = []
    for obj in sorted(wanted.objects, key=lambda one: one["kind"] != "Namespace"):
        name = f"{obj['kind'].lower()}/{obj['metadata']['name']}"
        try:
            await _apply(client, discovery, wanted, obj)
        except ApiError as error:
            done = f" ({', '.join(said)})" if said else ""
            raise NormanError(
                error.code if error.code in (403, 404, 409, 422) else 400,
                f"{name}: {error.message}{done}",
            ) from None
        said.append(f"{name} applied")
    return {"type": OUTPUT, "baseType": OUTPUT, "message": "\n".join(said)}


async def _apply(client: Client, discovery: Discovery, wanted: Import, obj: Json) -> None:
    kind = await discovery.kind(obj["apiVersion"], obj["kind"])
    if obj["kind"] == NAMESPACES.kind and not kind.group:
        await _check_project(client, wanted, obj["metadata"]["name"])
        obj = wanted.in_project(obj)
    await client.apply(kind, wanted.placed(obj, namespaced=kind.namespaced))


async def _check_project(client: Client, wanted: Import, name: str) -> None:
    if not wanted.project:
        return
    try:
        held = await client.get(NAMESPACES, name)
    except NotFound:
        return
    current = (held["metadata"].get("annotations") or {}).get(PROJECT, "")
    if current and current != wanted.project:
        raise NormanError(400, f"namespace {name} is in another project")


def _parsed(text: Any) -> Sequence[Json]:
    if not isinstance(text, str) or not text.strip():
        raise NormanError(422, "yaml is missing", code="MissingRequired", field="yaml")
    try:
        documents = [document for document in yaml.load_all(text) if document is not None]
    except yaml.YAMLError as error:
        raise NormanError(400, f"this is no YAML: {error}", field="yaml") from None
    objects = [one for document in documents for one in _items(document)]
    if len(objects) > MOST:
        raise NormanError(
            422, f"more than {MOST} objects in one request", code="MaxLimitExceeded", field="yaml"
        )
    return objects


def _items(document: Any) -> Sequence[Json]:
    """The objects of a document: itself, or those of a List."""
    if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
        raise NormanError(
            400, "each document is an object with apiVersion, kind and metadata.name", field="yaml"
        )
    if document["kind"].endswith("List") and isinstance(document.get("items"), list):
        return [inner for item in document["items"] for inner in _items(item)]
    metadata = document.get("metadata")
    named = isinstance(metadata, dict) and isinstance(metadata.get("name"), str)
    if not named or not isinstance(document.get("apiVersion"), str):
        raise NormanError(
            400, "each document is an object with apiVersion, kind and metadata.name", field="yaml"
        )
    return [document]
