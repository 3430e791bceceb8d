"""What a request to a served kind asks for: its query, its media types, its body. Raises ApiError."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from outrider.apis.ext.served import Json, Selection
from outrider.kit import yaml
from outrider.kube.errors import ApiError, BadRequest, Invalid
from outrider.kube.selectors import SelectorError, parse_labels

Form = Literal["object", "table", "metadata"]
"""How objects are answered: as they are, as rows for people, or their metadata alone."""

Query = Mapping[str, str]

DEFAULT_WATCH = 1800.0
MAX_WATCH = 3600.0

_JSON_TYPES = frozenset({"application/json", "application/*", "*/*"})
_YAML_BODIES = frozenset({"application/yaml", "application/apply-patch+yaml", "application/apply-patch"})
_FORMS: dict[str, Form] = {
    "Table": "table",
    "PartialObjectMetadata": "metadata",
    "PartialObjectMetadataList": "metadata",
}


def wanted_form(accept: str) -> Form:
    """The first form in an Accept header that can be answered, all of them as JSON. Raises ApiError 406."""
    for choice in accept.split(",") if accept.strip() else ("*/*",):
        media, *parameters = (part.strip() for part in choice.split(";"))
        given = dict(part.split("=", 1) for part in parameters if "=" in part)
        if media.lower() not in _JSON_TYPES:
            continue
        if "as" not in given:
            return "object"
        if given["as"] in _FORMS and given.get("g") == "meta.k8s.io" and given.get("v") == "v1":
            return _FORMS[given["as"]]
    raise ApiError(
        "only the following media types are accepted: application/json", code=406, reason="NotAcceptable"
    )


def flag(query: Query, name: str) -> bool:
    """A boolean of the query, as the API server reads it: present, and neither false nor 0."""
    return name in query and query[name].lower() not in ("false", "0")


def number(query: Query, name: str) -> int:
    """A number of the query that is not negative; 0 when it is absent. Raises BadRequest."""
    text = query.get(name, "")
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise BadRequest(f"{name}: {text!r} is not a number")
    return int(text)


def selection(query: Query) -> Selection:
    """Which objects of the collection. Raises BadRequest."""
    labels = query.get("labelSelector", "")
    try:
        parse_labels(labels)
    except SelectorError as error:
        raise BadRequest(f"unable to parse requirement: {error}") from None
    return Selection(
        labels=labels,
        fields=query.get("fieldSelector", ""),
        limit=number(query, "limit"),
        after=query.get("continue", ""),
    )


def watch_seconds(query: Query) -> float:
    """How long a watch lasts."""
    return min(float(number(query, "timeoutSeconds") or DEFAULT_WATCH), MAX_WATCH)


def is_dry(query: Query) -> bool:
    """Whether nothing is to be kept. Raises Invalid."""
    given = query.get("dryRun", "")
    if given in ("", "All"):
        return given == "All"
    raise Invalid(f'dryRun: Unsupported value: "{given}": supported values: "All"')


def check_watch(query: Query) -> None:
    """Refuse what makes clients fall back to a list and a watch. Raises Invalid."""
    if "sendInitialEvents" in query:
        raise Invalid("sendInitialEvents: Forbidden: this API answers lists; list, and watch from there")


def body_of(content: bytes, content_type: str) -> Any:
    """The values in a body, JSON or YAML. Raises ApiError."""
    media = content_type.partition(";")[0].strip().lower()
    try:
        if media in _YAML_BODIES:
            return yaml.load(content)
        if media in ("", "application/json") or media.endswith("+json"):
            return msgspec.json.decode(content)
    except (yaml.YAMLError, msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body of the request cannot be read: {error}") from None
    raise ApiError(
        f"the body of the request was in an unknown format - {media} - accepted media types include:"
        " application/json, application/yaml",
        code=415,
        reason="UnsupportedMediaType",
    )


def object_of(content: bytes, content_type: str) -> Json:
    """The object in a body. Raises ApiError."""
    value = body_of(content, content_type) if content.strip() else None
    if not isinstance(value, dict):
        raise BadRequest("the body of the request is not an object")
    return value
