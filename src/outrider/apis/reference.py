"""Reference pages (Markdown) of the kinds, settings and features, from the same declarations."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from outrider.apis.management import features, settings
from outrider.apis.schema import INT_OR_STRING, PRESERVE, VALIDATIONS, JsonSchema

_LIMITS = ("minLength", "maxLength", "minimum", "maximum", "maxItems", "maxProperties")
_SETTINGS_INTRO = (
    "In effect is the environment variable where it is set (the setting is read-only then),"
    " else the chosen value, else the default."
)
_FEATURES_INTRO = "In effect is the locked value, else `spec.value`, else the default."


def kind_page(definition: dict[str, Any]) -> str:
    """The page of one CRD: how it is served, its columns, its fields and its rules."""
    spec = definition["spec"]
    version = spec["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    facts = [
        ("API", f"`{spec['group']}/{version['name']}`"),
        ("Kind", f"`{spec['names']['kind']}`"),
        ("Resource", f"`{definition['metadata']['name']}`"),
        ("Short names", ", ".join(f"`{name}`" for name in spec["names"].get("shortNames", [])) or "none"),
        ("Scope", spec["scope"]),
        ("Subresources", ", ".join(f"`{name}`" for name in version.get("subresources", {})) or "none"),
    ]
    columns = [(one["name"], f"`{one['jsonPath']}`") for one in version["additionalPrinterColumns"]]
    parts = [
        f"# {spec['names']['kind']} ({spec['group']})",
        schema["description"],
        _table(("", ""), facts),
        "## Fields",
        _table(("Field", "Type", "Description"), _fields(schema)),
        *_rules_section(schema),
        *(("## Columns of `kubectl get`", _table(("Column", "From"), columns)) if columns else ()),
    ]
    return "\n\n".join(parts) + "\n"


def index_page(definitions: Iterable[dict[str, Any]]) -> str:
    """The page that leads to all others."""
    rows = (
        (
            f"[{one['spec']['names']['kind']}]({one['metadata']['name']}.md)",
            f"`{one['spec']['group']}/{one['spec']['versions'][0]['name']}`",
            one["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"].partition("\n")[0],
        )
        for one in definitions
    )
    intro = "The kinds that Outrider adds to its management cluster, from the types in `src/outrider/apis`."
    more = "See also the [settings](settings.md) and [features](features.md)."
    return "\n\n".join(["# API", intro, _table(("Kind", "API", ""), rows), more]) + "\n"


def setting_page() -> str:
    """The known settings."""
    rows = (
        (f"`{one.name}`", f"`{one.default}`" if one.default else "", _about_setting(one), f"`{one.variable}`")
        for one in sorted(settings.DEFINITIONS, key=lambda one: one.name)
    )
    table = _table(("Setting", "Default", "Description", "Environment variable"), rows)
    return "\n\n".join(["# Settings", _SETTINGS_INTRO, table]) + "\n"


def feature_page() -> str:
    """The known features."""
    rows = (
        (f"`{one.name}`", _word(one.default), "no" if one.dynamic else "yes", one.description)
        for one in sorted(features.DEFINITIONS, key=lambda one: one.name)
    )
    table = _table(("Feature", "Default", "Needs a restart", "Description"), rows)
    return "\n\n".join(["# Features", _FEATURES_INTRO, table]) + "\n"


def _about_setting(one: settings.Definition) -> str:
    demand = f"It {one.check.demand}." if one.check.demand else ""
    notes = ("Shown before sign-in." if one.public else "", "Read-only." if one.computed else "")
    return " ".join(part for part in (one.description, demand, *notes) if part)


def _word(value: bool) -> str:
    return "on" if value else "off"


def _fields(schema: JsonSchema, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        if prefix or name not in ("apiVersion", "kind", "metadata"):
            yield f"`{path}`", type_name(field), _about(field, required=name in required)
            yield from _fields(field, f"{path}.")
            yield from _fields(field.get("items", {}), f"{path}[].")
            if isinstance(values := field.get("additionalProperties"), dict):
                yield from _fields(values, f"{path}.*.")


def type_name(field: JsonSchema) -> str:
    """The type of a field in words."""
    if INT_OR_STRING in field:
        return "integer or string"
    if field.get("type") == "array":
        return f"list of {type_name(field['items'])}"
    if field.get("additionalProperties"):
        return f"map to {type_name(field['additionalProperties'])}"
    return str(field.get("type", "any" if PRESERVE in field else ""))


def _about(field: JsonSchema, *, required: bool) -> str:
    limits = [f"{limit} {field[limit]}" for limit in _LIMITS if limit in field]
    values = ", ".join(f"`{value}`" for value in field.get("enum", []) if value)
    parts = (
        field.get("description", ""),
        "Required." if required else "",
        f"One of {values}." if values else "",
        f"({', '.join(limits)})" if limits else "",
    )
    return " ".join(part for part in parts if part)


def _rules_section(schema: JsonSchema) -> Iterator[str]:
    found = list(_rules(schema, ""))
    if found:
        yield "## Rules"
        yield "\n".join(f"- `{path or '.'}`: {message}" for path, message in found)


def _rules(schema: JsonSchema, path: str) -> Iterator[tuple[str, str]]:
    for rule in schema.get(VALIDATIONS, []):
        yield f"{path}{rule.get('fieldPath', '')}", rule["message"]
    for name, field in schema.get("properties", {}).items():
        yield from _rules(field, f"{path}.{name}")
    if "items" in schema:
        yield from _rules(schema["items"], f"{path}[]")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
