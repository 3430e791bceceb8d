import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.kube.builtin import CONFIGMAPS, NAMESPACES
from outrider.kube.errors import DecodeError
from outrider.kube.meta import ObjectKey
from tests.support.widgets import WIDGETS, WidgetSpec, widget


def test_paths() -> None:
    assert NAMESPACES.path() == "/api/v1/namespaces"
    assert NAMESPACES.path("a") == "/api/v1/namespaces/a"
    assert NAMESPACES.path("a", subresource="finalize") == "/api/v1/namespaces/a/finalize"
    assert WIDGETS.path() == "/apis/example.io/v1/widgets"
    assert WIDGETS.path("w", "n", "status") == "/apis/example.io/v1/namespaces/n/widgets/w/status"
    assert WIDGETS.path("system:a b", "n").endswith("/widgets/system:a%20b")


@pytest.mark.parametrize("name", ["..", ".", "a/b", "a%2fb", "../../secrets/x"])
def test_a_name_cannot_leave_its_place(name: str) -> None:
    with pytest.raises(ValueError, match="Kubernetes path"):
        WIDGETS.path(name, "n")
    with pytest.raises(ValueError, match="Kubernetes path"):
        WIDGETS.path("x", name)


@given(st.text(min_size=1))
def test_a_path_has_as_many_segments_as_meant(name: str) -> None:
    try:
        path = CONFIGMAPS.path(name, "n")
    except (ValueError, UnicodeEncodeError):
        return
    assert path.count("/") == 6
    assert not set("?# \r\n") & set(path)


def test_a_namespace_where_none_belongs_or_none_where_one_does() -> None:
    with pytest.raises(ValueError, match="cluster-scoped"):
        NAMESPACES.path("a", "n")
    with pytest.raises(ValueError, match="without a namespace"):
        CONFIGMAPS.path("a")


def test_typed_objects() -> None:
    obj = WIDGETS.decode(msgspec.json.encode(widget("a")))
    assert obj.spec == WidgetSpec(display_name="A", size=2)
    assert (WIDGETS.key(obj), obj.key) == (ObjectKey("n", "a"), ObjectKey("n", "a"))
    assert (WIDGETS.resource_version(obj), WIDGETS.uid(obj)) == ("7", "u-a")
    assert not obj.is_deleting
    assert WIDGETS.encode(obj)["apiVersion"] == "example.io/v1"


def test_untyped_objects_know_what_they_are() -> None:
    page = CONFIGMAPS.decode_list(b'{"metadata":{"resourceVersion":"5"},"items":[{"metadata":{"name":"a"}}]}')
    assert page.items == [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}]
    assert CONFIGMAPS.key(page.items[0]) == ObjectKey("", "a")
    assert CONFIGMAPS.resource_version({}) == ""


def test_lists() -> None:
    body = {"metadata": {"resourceVersion": "9", "continue": "t"}, "items": [widget("a"), widget("b")]}
    page = WIDGETS.decode_list(msgspec.json.encode(body))
    assert [item.metadata.name for item in page.items] == ["a", "b"]
    assert (page.resource_version, page.continue_token, page.rejected) == ("9", "t", [])


def test_a_list_without_items_is_empty() -> None:
    assert WIDGETS.decode_list(b'{"metadata":{},"items":null}').items == []


def test_one_malformed_object_does_not_hide_the_others() -> None:
    items = [widget("a"), widget("bad", size="many"), widget("c")]
    page = WIDGETS.decode_list(msgspec.json.encode({"metadata": {"resourceVersion": "9"}, "items": items}))
    assert [item.metadata.name for item in page.items] == ["a", "c"]
    [rejected] = page.rejected
    assert rejected.key == ObjectKey("n", "bad")
    assert "size" in rejected.reason
    assert page.resource_version == "9"


def test_decode_errors_name_the_object_and_not_its_content() -> None:
    with pytest.raises(DecodeError, match=r"cannot read n/bad as Widget: .*spec\.size") as caught:
        WIDGETS.decode(msgspec.json.encode(widget("bad", size="secret-value")))
    assert "secret-value" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"nonsense", b'{"items": 3}'])
def test_what_is_no_list_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        WIDGETS.decode_list(data)
