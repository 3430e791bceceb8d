"""Values that a structural schema accepts, as hypothesis strategies."""

from __future__ import annotations

import base64
from typing import Any

from hypothesis import strategies as st

_INTEGERS = st.integers(-(2**63), 2**63 - 1)
_ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), _INTEGERS, st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(), inner, max_size=2)),
    max_leaves=4,
)
_FORMATS = {
    "byte": st.binary().map(lambda data: base64.b64encode(data).decode()),
    "date-time": st.datetimes().map(lambda time: f"{time.isoformat()}Z"),
}


def allowed(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a structural schema accepts."""
    plain = _not_null(schema)
    return st.one_of(st.none(), plain) if schema.get("nullable") else plain


def _not_null(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return st.one_of(_INTEGERS, st.text())
    match schema.get("type"):
        case "boolean":
            return st.booleans()
        case "integer":
            return _INTEGERS
        case "number":
            return st.one_of(_INTEGERS, st.floats(allow_nan=False, allow_infinity=False))
        case "string":
            return _FORMATS.get(schema.get("format", ""), st.text())
        case "array":
            return st.lists(allowed(schema["items"]), max_size=3)
        case "object":
            return _objects(schema)
    return _ANYTHING


def _objects(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    if "properties" not in schema:
        return st.dictionaries(st.text(), allowed(schema.get("additionalProperties", {})), max_size=3)
    known = {name: allowed(field) for name, field in schema["properties"].items()}
    required = {name: known[name] for name in schema.get("required", [])}
    optional = {name: field for name, field in known.items() if name not in required}
    fixed = st.fixed_dictionaries(required, optional=optional)
    more = st.dictionaries(st.text().map(lambda text: f"unknown{text}"), _ANYTHING, max_size=2)
    return st.tuples(more, fixed).map(lambda pair: pair[0] | pair[1])
