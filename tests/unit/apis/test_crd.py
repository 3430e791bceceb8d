"""CRDs from kinds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import msgspec
import pytest

from outrider.apis.crd import AGE, Column, Resource, custom_resource_definition, immutable
from outrider.apis.kinds import KINDS
from outrider.apis.schema import PRESERVE, Rule, Shape, prop
from outrider.kube.kind import Kind
from outrider.kube.meta import Object


class Thing(Object, kw_only=True):
    """A thing."""

    shape: ClassVar[Shape] = Shape(rules=(Rule("self.metadata.name != 'x'", "not x"),))
    resource: ClassVar[Resource] = Resource(
        columns=(Column("Size", ".size", type="integer", wide=True), AGE), status=True, short_names=("th",)
    )
    size: Annotated[int, prop("How big.")] = 0


THINGS = Kind(group="example.com", version="v2", plural="things", kind="Thing", namespaced=True, type=Thing)


def test_definition() -> None:
    assert custom_resource_definition(THINGS) == {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {
                "plural": "things",
                "singular": "thing",
                "kind": "Thing",
                "listKind": "ThingList",
                "categories": ["outrider"],
                "shortNames": ["th"],
            },
            "versions": [
                {
                    "name": "v2",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "description": "A thing.",
                            "properties": {
                                "apiVersion": {
                                    "type": "string",
                                    "description": "The group and version of this representation.",
                                },
                                "kind": {"type": "string", "description": "The kind of this object."},
                                "metadata": {"type": "object"},
                                "size": {"type": "integer", "format": "int64", "description": "How big."},
                            },
                            "x-kubernetes-validations": [
                                {"rule": "self.metadata.name != 'x'", "message": "not x"}
                            ],
                            PRESERVE: True,
                        }
                    },
                    "additionalPrinterColumns": [
                        {"name": "Size", "type": "integer", "jsonPath": ".size", "priority": 1},
                        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                    ],
                    "subresources": {"status": {}},
                }
            ],
        },
    }


def test_immutable_counts_absent_as_the_default() -> None:
    rule = immutable("on", default="false", why="it is wired in")
    assert rule.rule == "(has(self.on) ? self.on : false) == (has(oldSelf.on) ? oldSelf.on : false)"
    assert rule.message == "on cannot be changed once it is set: it is wired in"


def test_immutable_may_allow_a_first_value() -> None:
    assert immutable("name", settable_once=True).rule.startswith(
        "(has(oldSelf.name) ? oldSelf.name : '') == '' || "
    )


@pytest.mark.parametrize("kind", KINDS, ids=repr)
def test_every_field_is_described(kind: Kind[Any]) -> None:
    schema = custom_resource_definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    silent = [path for path, node in _fields(schema, "") if not node.get("description")]
    # metav1.ObjectMeta inside a principal is Kubernetes' own and known to everybody.
    assert [path for path in silent if "metadata" not in path.lower()] == []


@pytest.mark.parametrize("kind", KINDS, ids=repr)
def test_unknown_fields_are_kept_at_every_level(kind: Kind[Any]) -> None:
    schema = custom_resource_definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    nodes = [("", schema), *_fields(schema, "")]
    closed = [path for path, node in nodes if "properties" in node and not node.get(PRESERVE)]
    assert closed == []


@pytest.mark.parametrize("kind", KINDS, ids=repr)
def test_default_objects_survive_the_wire(kind: Kind[Any]) -> None:
    assert kind.decode(msgspec.json.encode(kind.type())) == kind.type()


def test_names_are_unique() -> None:
    names = [custom_resource_definition(kind)["metadata"]["name"] for kind in KINDS]
    assert len(names) >= 9
    assert len(set(names)) == len(names)


def _fields(schema: dict[str, Any], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in schema.get("properties", {}).items():
        path = f"{prefix}.{name}"
        yield path, field
        for inner in (field, field.get("items", {}), field.get("additionalProperties", {})):
            if isinstance(inner, dict):
                yield from _fields(inner, path)
