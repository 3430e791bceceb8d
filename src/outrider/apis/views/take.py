"""From a resource that a client sent to what is written: a new object, or a merge patch; pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from outrider.apis.management.group import CREATOR_ID, NO_CREATOR_RBAC
from outrider.apis.norman import NormanError
from outrider.apis.views.form import OWN, Column, Form
from outrider.apis.views.view import Json
from outrider.kube.patches import merge_patch

_PROTECTED: Final = "cattle.io/"
_MISSING: Final = object()


def draft(form: Form, body: Json, *, namespace: str = "", creator: str = "") -> Json:
    """The object that a creation asks for. Raises NormanError (422)."""
    fields: Json = {}
    for column in form.takes(creating=True):
        value = _given(column, body)
        if value is not None:
            fields[column.stored] = value
    obj: Json = {"metadata": _metadata(form, body, namespace, creator)}
    if form.written_section == OWN:
        return obj | fields
    return obj | {form.written_section: fields}


def changes(form: Form, obj: Json, body: Json, *, replace: bool = False) -> Json:
    """The merge patch that makes the fields that were sent equal to what was sent.

    With `replace`, fields that were not sent are removed. Raises NormanError (422).
    """
    section = form.section_of(obj)
    held = obj if section == OWN else obj.get(section) or {}
    fields: Json = {}
    for column in form.takes(creating=False):
        if column.shown not in body and not replace:
            continue
        new = without_nulls(body.get(column.shown))
        _check(column, new)
        if new is None and column.field.required:
            raise _missing(column)
        old = held.get(column.stored)
        if new != old:
            fields[column.stored] = merge_patch(old, new)
    patch: Json = (
        {"metadata": metadata} if (metadata := _changed_metadata(form, obj, body, replace=replace)) else {}
    )
    if section == OWN:
        return patch | fields
    return patch | ({section: fields} if fields else {})


def without_nulls(value: Any) -> Any:
    """The value without the keys of objects that hold null: absent, to Kubernetes."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _given(column: Column, body: Json) -> Any:
    value = without_nulls(body.get(column.shown))
    if value is None:
        value = column.field.default
    if value is None or value == "":
        if column.field.required:
            raise _missing(column)
        return value
    _check(column, value)
    return value


def _missing(column: Column) -> NormanError:
    return NormanError(422, f"{column.shown} is missing", code="MissingRequired", field=column.shown)


def _check(column: Column, value: Any) -> None:
    options = column.field.options
    if options and value is not None and value not in options:
        raise NormanError(
            422,
            f"{column.shown} takes one of: {', '.join(option for option in options if option)}",
            code="InvalidOption",
            field=column.shown,
        )


def _metadata(form: Form, body: Json, namespace: str, creator: str) -> Json:
    metadata: Json = {}
    name = None if form.name_is_stored else body.get("name")
    if name is not None and not isinstance(name, str):
        raise NormanError(422, "name takes text", code="InvalidFormat", field="name")
    if name:
        metadata["name"] = name
    elif form.view.generate_name:
        metadata["generateName"] = form.view.generate_name
    else:
        raise NormanError(422, "name is missing", code="MissingRequired", field="name")
    if namespace:
        metadata["namespace"] = namespace
    annotations = _texts(body, "annotations") or {}
    annotations.pop(CREATOR_ID, None)
    for column in form.annotated:
        value = _given(column, body) if column.takes(creating=True) else None
        if value is not None:
            annotations[column.stored] = _written(column, value)
    if creator and NO_CREATOR_RBAC not in annotations:
        annotations[CREATOR_ID] = creator
    if annotations:
        metadata["annotations"] = annotations
    if labels := _texts(body, "labels"):
        metadata["labels"] = labels
    return metadata


def _changed_metadata(form: Form, obj: Json, body: Json, *, replace: bool) -> Json:
    metadata = obj.get("metadata") or {}
    changed: Json = {}
    for name in ("labels", "annotations"):
        sent = _texts(body, name)
        if (sent is None and not replace) or not form.columns[name].takes(creating=False):
            continue
        old = metadata.get(name) or {}
        kept = {key: value for key, value in old.items() if _PROTECTED in key}
        if patch := merge_patch(old, kept | (sent or {})):
            changed[name] = patch
    if annotated := _changed_annotations(form, metadata.get("annotations") or {}, body, replace=replace):
        changed["annotations"] = changed.get("annotations", {}) | annotated
    return changed


def _changed_annotations(form: Form, old: Json, body: Json, *, replace: bool) -> Json:
    changed: Json = {}
    for column in form.annotated:
        if not column.takes(creating=False) or (column.shown not in body and not replace):
            continue
        value = without_nulls(body.get(column.shown))
        _check(column, value)
        new = None if value is None else _written(column, value)
        if new != old.get(column.stored):
            changed[column.stored] = new
    return changed


def _written(column: Column, value: Any) -> str:
    if not column.is_text:
        return msgspec.json.encode(value).decode()
    if not isinstance(value, str):
        raise NormanError(422, f"{column.shown} takes text", code="InvalidFormat", field=column.shown)
    return value


def _texts(body: Mapping[str, Any], field: str) -> dict[str, str] | None:
    """A map of texts, if there is one."""
    value = body.get(field, _MISSING)
    if value is _MISSING or value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(one, str | None) for one in value.values()):
        raise NormanError(
            422, f"{field} takes an object whose values are text", code="InvalidFormat", field=field
        )
    return {key: one for key, one in value.items() if one is not None}
