"""What was written is read back as written, field by field, for every view: a second plan is empty."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider.apis.management.cluster import CLUSTERS
from outrider.apis.management.feature import FEATURES
from outrider.apis.management.registration_token import REGISTRATION_TOKENS
from outrider.apis.management.setting import SETTINGS
from outrider.apis.management.user import USERS
from outrider.apis.views.form import Column, Form
from outrider.apis.views.rights import Methods
from outrider.apis.views.show import show
from outrider.apis.views.take import changes, draft, without_nulls
from outrider.apis.views.view import Access, Context, Field, InCluster, View
from outrider.facade.v3.inside import namespace_view
from outrider.features.clusters.views import CLUSTER_FIELDS
from outrider.features.rbac.views import role_views
from tests.support.views import a_call

NOW = datetime(2026, 1, 1, tzinfo=UTC)
VIEWS = [
    View(
        kind=CLUSTERS,
        type="cluster",
        plural="clusters",
        names={"displayName": "name"},
        fields=CLUSTER_FIELDS,
        generate_name="c-",
    ),
    View(
        kind=REGISTRATION_TOKENS,
        type="clusterRegistrationToken",
        plural="clusterRegistrationTokens",
        names={"clusterName": "clusterId"},
        fields={"clusterId": Field(access=Access.READ)},
        placement=InCluster(),
        generate_name="crt-",
    ),
    View(
        kind=USERS,
        type="user",
        plural="users",
        names={"displayName": "name"},
        hidden=frozenset({"password"}),
        fields={"password": Field(access=Access.WRITE), "enabled": Field(default=True)},
        generate_name="user-",
    ),
    View(kind=SETTINGS, type="setting", plural="settings", stateless=True),
    View(kind=FEATURES, type="feature", plural="features", stateless=True),
    namespace_view(Context.CLUSTER),
    *(view for view in role_views() if view.type in ("roleTemplate", "globalRole")),
]
FORMS = {view.type: Form(view) for view in VIEWS}

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=8)
JSON = st.recursive(
    st.booleans() | st.integers(-5, 5) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner | st.none(), max_size=3),
    max_leaves=6,
)
BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "int": st.integers(0, 1000),
    "map[string]": st.dictionaries(TEXT, TEXT, max_size=3),
}


def values(column: Column) -> st.SearchStrategy[Any]:
    if column.field.options:
        return st.sampled_from(column.field.options)
    if column.is_text:
        return TEXT
    return BY_TYPE.get(column.type, st.dictionaries(TEXT, JSON, max_size=3))


def bodies(form: Form, *, creating: bool) -> st.SearchStrategy[dict[str, Any]]:
    taken = {
        name: values(column)
        for name, column in form.columns.items()
        if column.takes(creating=creating) and name not in ("name", "namespaceId", "projectId")
    }
    return st.fixed_dictionaries({}, optional=taken)


def shown(form: Form, obj: dict[str, Any]) -> dict[str, Any]:
    asking = a_call()
    methods = Methods(form.view, asking)
    return show(form, obj, asking, methods=methods, linked=lambda *_: False, now=NOW)


def stored(obj: dict[str, Any]) -> dict[str, Any]:
    """The object as the API server would keep it."""
    metadata = {"uid": "u", "resourceVersion": "1", "name": "made", **obj["metadata"]}
    return {"apiVersion": "x/v1", "kind": "X", **obj, "metadata": metadata}


def applied(target: Any, patch: Any) -> Any:
    """RFC 7386, section 2, to the letter."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = applied(result.get(key), value)
    return result


def assert_read_back(form: Form, obj: dict[str, Any], body: dict[str, Any]) -> None:
    seen = shown(form, obj)
    for name, written in body.items():
        if form.columns[name].field.access is Access.WRITE:
            assert name not in seen
        elif name in ("labels", "annotations"):
            assert written.items() <= seen[name].items()
        else:
            assert seen[name] == without_nulls(written), name


@pytest.mark.parametrize("kind", FORMS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_what_is_created_and_changed_is_read_back(kind: str, data: st.DataObject) -> None:
    form = FORMS[kind]
    first = data.draw(bodies(form, creating=True)) | {"name": "a-name"}
    obj = stored(draft(form, first, creator="user-1"))
    assert_read_back(form, obj, {key: value for key, value in first.items() if key != "name"})
    assert shown(form, obj)["name"] == "a-name"
    second = data.draw(bodies(form, creating=False))
    obj = stored(applied(obj, changes(form, obj, second)))
    unchanged = {
        key: value
        for key, value in first.items()
        if key not in second and key not in ("name", "labels", "annotations")
    }
    assert_read_back(form, obj, second)
    assert_read_back(form, obj, unchanged)
    assert changes(form, obj, second) == {}, "a second plan is not empty"


@pytest.mark.parametrize("kind", FORMS)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_a_replacement_leaves_nothing_else(kind: str, data: st.DataObject) -> None:
    form = FORMS[kind]
    obj = stored(draft(form, data.draw(bodies(form, creating=True)) | {"name": "a-name"}, creator="user-1"))
    body = data.draw(bodies(form, creating=False))
    obj = stored(applied(obj, changes(form, obj, body, replace=True)))
    assert_read_back(form, obj, body)
    for column in form.takes(creating=False):
        if column.shown not in body:
            held = obj if form.written_section == "" else obj.get("spec") or {}
            assert column.stored not in held, column.shown
    assert shown(form, obj)["creatorId"] == "user-1"


@pytest.mark.parametrize("kind", FORMS)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_what_was_read_may_be_sent_back(kind: str, data: st.DataObject) -> None:
    form = FORMS[kind]
    obj = stored(draft(form, data.draw(bodies(form, creating=True)) | {"name": "a-name"}, creator="user-1"))
    assert changes(form, obj, _stored_part(form, obj)) == {}


def _stored_part(form: Form, obj: dict[str, Any]) -> dict[str, Any]:
    """What a client read, without what is shown only because nothing is stored."""
    seen = shown(form, obj)
    held = obj if form.written_section == "" else obj.get("spec") or {}
    annotations = obj["metadata"].get("annotations") or {}
    kept = {column.shown for column in form.takes(creating=False) if column.stored in held}
    kept |= {column.shown for column in form.annotated if column.stored in annotations}
    return {name: value for name, value in seen.items() if name in kept or not form.columns.get(name)}


def test_marks_of_the_system_stay_when_labels_are_replaced() -> None:
    form = FORMS["cluster"]
    obj = stored({"metadata": {"labels": {"a": "1", "x.cattle.io/y": "z"}}, "spec": {}})
    patch = changes(form, obj, {"labels": {"b": "2"}})
    assert patch == {"metadata": {"labels": {"a": None, "b": "2"}}}
