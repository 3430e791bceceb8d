import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.kube.builtin import CONFIGMAPS
from outrider.kube.errors import DecodeError, Gone
from outrider.kube.meta import ObjectKey
from outrider.kube.watch import LineSplitter, decode_event
from tests.support.widgets import WIDGETS


def line(kind: str, obj: object) -> bytes:
    return msgspec.json.encode({"type": kind, "object": obj})


def test_changes_carry_their_object_and_version() -> None:
    obj = {"metadata": {"name": "a", "namespace": "n", "resourceVersion": "5"}}
    for kind in ("ADDED", "MODIFIED", "DELETED"):
        event = decode_event(CONFIGMAPS, line(kind, obj))
        assert event.type == kind
        assert event.object is not None
        assert event.object["kind"] == "ConfigMap"
        assert (event.key, event.resource_version) == (ObjectKey("n", "a"), "5")


def test_a_bookmark_carries_a_version_only() -> None:
    event = decode_event(WIDGETS, line("BOOKMARK", {"kind": "Widget", "metadata": {"resourceVersion": "12"}}))
    assert (event.type, event.object, event.resource_version) == ("BOOKMARK", None, "12")


def test_an_error_event_is_raised() -> None:
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
    with pytest.raises(Gone, match="too old"):
        decode_event(CONFIGMAPS, line("ERROR", status))


def test_an_object_that_does_not_fit_is_named() -> None:
    obj = {"metadata": {"name": "a", "namespace": "n", "resourceVersion": "5"}, "spec": {"displayName": 1}}
    event = decode_event(WIDGETS, line("MODIFIED", obj))
    assert (event.type, event.object, event.key) == ("REJECTED", None, ObjectKey("n", "a"))
    assert event.resource_version == "5"
    assert "displayName" in event.reason


def test_an_object_that_does_not_fit_can_still_be_deleted() -> None:
    obj = {"metadata": {"name": "a", "namespace": "n", "resourceVersion": "5"}, "spec": {"displayName": 1}}
    event = decode_event(WIDGETS, line("DELETED", obj))
    assert (event.type, event.object, event.key) == ("DELETED", None, ObjectKey("n", "a"))
    assert event.resource_version == "5"


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[1]", b'{"type":"ADDED"}', b'{"type":"WHAT","object":{}}', b'{"type":"ERROR","object":1}'],
)
def test_lines_that_are_no_event_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_event(CONFIGMAPS, data)


@given(st.lists(st.binary().map(lambda b: b.replace(b"\n", b"")), max_size=10), st.data())
def test_lines_come_out_whole_however_the_bytes_are_cut(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(item + b"\n" for item in lines)
    splitter = LineSplitter(1 << 20)
    found: list[bytes] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += splitter.feed(stream[:size])
        stream = stream[size:]
    assert found == [item for item in lines if item.strip()]


def test_a_line_is_bounded() -> None:
    splitter = LineSplitter(10)
    assert splitter.feed(b"0123456789\n01234") == [b"0123456789"]
    with pytest.raises(DecodeError, match="larger than 10 bytes"):
        splitter.feed(b"567890")
