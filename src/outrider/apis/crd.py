"""From a Kind of ours to its CustomResourceDefinition (apiextensions.k8s.io/v1)."""

from dataclasses import dataclass
from typing import Any

from outrider.apis.schema import JsonSchema, Rule, paragraphs, schema_of
from outrider.apis.spelling import spelled_schema
from outrider.kube.kind import Kind

CATEGORY = "outrider"


@dataclass(frozen=True)
class Column:
    """One column of `kubectl get`; `wide` ones show with `-o wide` only. `path` is a JSONPath."""

    name: str
    path: str
    type: str = "string"
    description: str = ""
    wide: bool = False

    def to_json(self) -> JsonSchema:
        """The entry of `additionalPrinterColumns`."""
        entry: JsonSchema = {"name": self.name, "type": self.type, "jsonPath": self.path}
        if self.description:
            entry["description"] = self.description
        return entry | ({"priority": 1} if self.wide else {})


AGE = Column("Age", ".metadata.creationTimestamp", type="date")


@dataclass(frozen=True)
class Resource:
    """What a type says about how it is served: the class variable `resource` of an object type.

    With `status` the API server serves `/status`: a write to the object ignores its status and a write
    to the status ignores everything else. With `spelled` the fields may also be written under `spec`.
    """

    columns: tuple[Column, ...]
    status: bool = False
    short_names: tuple[str, ...] = ()
    spelled: bool = False


def custom_resource_definition(kind: Kind[Any]) -> dict[str, Any]:
    """The CRD of a kind whose type declares a `resource`; the same input gives the same output."""
    resource: Resource = kind.type.resource
    names: JsonSchema = {
        "plural": kind.plural,
        "singular": kind.kind.lower(),
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "categories": [CATEGORY],
    }
    if resource.short_names:
        names["shortNames"] = list(resource.short_names)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {
            "group": kind.group,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "names": names,
            "versions": [_version(kind, resource)],
        },
    }


def _version(kind: Kind[Any], resource: Resource) -> JsonSchema:
    version: JsonSchema = {
        "name": kind.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": root_schema(kind.type)},
        "additionalPrinterColumns": [column.to_json() for column in resource.columns],
    }
    return version | ({"subresources": {"status": {}}} if resource.status else {})


def root_schema(type_: type) -> JsonSchema:
    """The schema of a whole object: its own fields beside those that every Kubernetes object has."""
    schema = schema_of(type_)
    own = {name: value for name, value in schema["properties"].items() if name not in _OBJECT_FIELDS}
    schema |= {"description": paragraphs(type_.__doc__), "properties": _OBJECT_FIELDS | own}
    resource: Resource | None = getattr(type_, "resource", None)
    return spelled_schema(schema) if resource is not None and resource.spelled else schema


def immutable(field: str, *, default: str = "''", settable_once: bool = False, why: str = "") -> Rule:
    """A rule on a struct: the field keeps its value, where absent means `default` (a CEL literal).

    With `settable_once` it may be given later when it was absent or had the default.
    """
    old = f"(has(oldSelf.{field}) ? oldSelf.{field} : {default})"
    new = f"(has(self.{field}) ? self.{field} : {default})"
    free = f"{old} == {default} || " if settable_once else ""
    message = f"{field} cannot be changed once it is set"
    return Rule(f"{free}{new} == {old}", f"{message}: {why}" if why else message, field=f".{field}")


_OBJECT_FIELDS: JsonSchema = {
    "apiVersion": {"type": "string", "description": "The group and version of this representation."},
    "kind": {"type": "string", "description": "The kind of this object."},
    "metadata": {"type": "object"},
}
