"""From an object to the resource that clients see (contract: clusters §4.2, auth §0); pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import msgspec

from outrider.apis.management.group import CREATOR_ID
from outrider.apis.state import state_of
from outrider.apis.views.call import Call
from outrider.apis.views.form import ENVELOPE, SPEC, STATUS, Column, Form
from outrider.apis.views.rights import Methods
from outrider.apis.views.view import InCluster, Json
from outrider.kube.meta import ObjectKey

Linked = Callable[[str, ObjectKey], bool]
"""Whether the user may follow a link of the object with a key."""

STATE: Final = ("state", "transitioning", "transitioningMessage")

_SECTIONS: Final = ENVELOPE | {SPEC, STATUS}


def show(form: Form, obj: Json, call: Call, *, methods: Methods, linked: Linked, now: datetime) -> Json:
    """The resource of an object. `linked` says which of the view's links its user may follow."""
    return finished(form, obj, fields_of(form, obj, call), call, methods=methods, linked=linked, now=now)


def fields_of(form: Form, obj: Json, call: Call) -> Json:
    """The resource as far as most filters and orders ask: all but its state, links and actions."""
    resource = form.absent | _fields(form, obj) | _common(form, obj) | _annotated(form, obj)
    resource |= form.view.compute(obj, call)
    for unseen in form.unseen:
        resource.pop(unseen, None)
    return resource


def with_state(form: Form, obj: Json, resource: Json, *, now: datetime) -> Json:
    """The resource with its state, where it has one and the view has not said another."""
    if form.view.stateless or "transitioning" in resource:
        return resource
    state = state_of(obj, now, settles=form.view.settles)
    return {
        "state": state.name,
        "transitioning": state.norman_transitioning,
        "transitioningMessage": state.message,
    } | resource


def finished(
    form: Form,
    obj: Json,
    resource: Json,
    call: Call,
    *,
    methods: Methods,
    linked: Linked,
    now: datetime,
) -> Json:
    """The whole resource of an object, from its fields."""
    view, resource = form.view, with_state(form, obj, resource, now=now)
    link = f"{root(call)}/{view.plural}/{quote(resource['id'], safe=':')}"
    resource["links"] = _links(form, obj, link, methods, linked)
    resource["actions"] = {
        action.name: f"{link}?action={action.name}"
        for action in view.actions
        if action.offered(obj) and methods.may(action.need, key_of(obj))
    }
    return resource


def root(call: Call) -> str:
    """The URL of the root that a request came through."""
    if call.project:
        return f"{call.base}/v3/project/{call.project}"
    return f"{call.base}/v3/cluster/{call.cluster}" if call.cluster else f"{call.base}/v3"


def key_of(obj: Mapping[str, Any]) -> ObjectKey:
    """The object's namespace and name."""
    metadata = obj.get("metadata") or {}
    return ObjectKey(metadata.get("namespace") or "", metadata.get("name") or "")


def identifier(key: ObjectKey) -> str:
    """The id of a resource: `name`, or `namespace:name`."""
    return f"{key.namespace}:{key.name}" if key.namespace else key.name


def _fields(form: Form, obj: Json) -> Json:
    """The object's fields side by side, under the names that clients know."""
    stored: Json = {name: value for name, value in obj.items() if name not in _SECTIONS}
    for section in (SPEC, STATUS):
        held = obj.get(section)
        if section in form.sections and isinstance(held, dict):
            stored |= held
    names, hidden = form.renamed, form.hidden
    return {names.get(name, name): value for name, value in stored.items() if name not in hidden}


def _annotated(form: Form, obj: Json) -> Json:
    held = (obj.get("metadata") or {}).get("annotations") or {}
    return {
        column.shown: unwritten(column, held[column.stored])
        for column in form.annotated
        if column.stored in held
    }


def unwritten(column: Column, text: str) -> Any:
    """The value of a field that is stored in an annotation; what is no JSON is nothing."""
    if column.is_text:
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return column.field.absent


def _common(form: Form, obj: Json) -> Json:
    view, metadata, key = form.view, obj.get("metadata") or {}, key_of(obj)
    annotations = metadata.get("annotations") or {}
    created = metadata.get("creationTimestamp")
    common: Json = {
        "id": identifier(key),
        "type": view.type,
        "baseType": view.type,
        "uuid": metadata.get("uid") or "",
        "created": created,
        "createdTS": milliseconds(created),
        "creatorId": annotations.get(CREATOR_ID),
        "labels": metadata.get("labels") or {},
        "annotations": annotations,
    }
    if not form.name_is_stored:
        common["name"] = key.name
    if view.kind.namespaced:
        common["namespaceId"] = key.namespace
        if isinstance(view.placement, InCluster):
            common[view.placement.field] = key.namespace
    for shown, stored in (("removed", "deletionTimestamp"), ("ownerReferences", "ownerReferences")):
        if metadata.get(stored):
            common[shown] = metadata[stored]
    return common


def milliseconds(moment: Any) -> int | None:
    """Milliseconds since the epoch of an RFC 3339 time; None for anything else."""
    try:
        parsed = datetime.fromisoformat(moment)
    except (TypeError, ValueError):
        return None
    return int((parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)).timestamp() * 1000)


def _links(form: Form, obj: Json, link: str, methods: Methods, linked: Linked) -> dict[str, str]:
    view, key = form.view, key_of(obj)
    links = {"self": link}
    if "PUT" in view.methods and methods.may_update(key):
        links["update"] = link
    if "DELETE" in view.methods and view.removable(obj) and methods.may_delete(key):
        links["remove"] = link
    return links | {name: f"{link}/{name.lower()}" for name in view.links if linked(name, key)}
