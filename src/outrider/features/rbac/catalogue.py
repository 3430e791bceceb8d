"""The built-in roles, read from their files: one YAML each, beside this module (spec: auth §3.1, §3.3)."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Final, NamedTuple

import msgspec

from outrider.apis.management import GLOBAL_ROLES, ROLE_TEMPLATES
from outrider.kit import yaml
from outrider.kube.kind import Kind

BOOTSTRAPPING: Final = "authz.management.cattle.io/bootstrapping"
BOOTSTRAPPED: Final = "authz.management.cattle.io/bootstrapped-role"
VERSION: Final = "outrider.cattle.io/role-version"

CHOSEN: Final = frozenset({"newUserDefault", "clusterCreatorDefault", "projectCreatorDefault", "locked"})
"""What the operator decides of a built-in role."""

_FOLDERS: Final[tuple[tuple[str, Kind[Any], str], ...]] = (
    ("global", GLOBAL_ROLES, "default-globalrole"),
    ("templates", ROLE_TEMPLATES, "default-roletemplate"),
)


class BuiltinRole(NamedTuple):
    """A role as its file states it.

    `fields` are kept as they are here; `choices` are what the operator may change once the role is there.
    """

    kind: Kind[Any]
    name: str
    version: int
    label: str
    fields: dict[str, Any]
    choices: dict[str, Any]


def builtin_roles() -> list[BuiltinRole]:
    """All of them. Raises ValueError for a file that says something a role cannot hold."""
    return [role for folder, kind, label in _FOLDERS for role in _read(folder, kind, label)]


def _read(folder: str, kind: Kind[Any], label: str) -> Iterator[BuiltinRole]:
    for path in sorted(files(__package__).joinpath("roles", folder).iterdir(), key=lambda one: one.name):
        said: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"))
        name, version = said.pop("name"), said.pop("version")
        if path.name != f"{name}.yaml" or not isinstance(version, int):
            raise ValueError(f"{path.name} is not the file of version {version!r} of {name!r}")
        unknown = set(said) - {field.encode_name for field in msgspec.structs.fields(kind.type)}
        if unknown:
            raise ValueError(f"{path.name}: {', '.join(sorted(unknown))} is no field of a {kind.kind}")
        msgspec.convert(said, kind.type)
        fields = {key: value for key, value in said.items() if key not in CHOSEN}
        choices = {key: value for key, value in said.items() if key in CHOSEN}
        yield BuiltinRole(kind, name, version, label, fields, choices)
