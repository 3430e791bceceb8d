"""From a record with copied bodies to the log's line."""

import gzip
import hashlib
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.gateway.audit_render import MAX_DECODED, render
from outrider.gateway.audit_tap import BODY, Bodies, Copied

META = {"auditID": "x", "requestURI": "/v3/things", "method": "POST"}
LINE = msgspec.json.encode(META)


def copied(data: bytes, *, length: int = -1, coding: str = "") -> Copied:
    return Copied(length=len(data) if length < 0 else length, data=data, coding=coding)


def rendered(bodies: Bodies, **meta: Any) -> dict[str, Any]:
    record = msgspec.json.encode(META | meta) + b"\t" + msgspec.json.encode(bodies)
    entry: dict[str, Any] = msgspec.json.decode(render(record))
    return entry


def test_a_record_without_bodies_passes_through() -> None:
    assert render(LINE) == LINE


def test_bodies_are_shown_redacted() -> None:
    bodies = Bodies(request=copied(b'{"a":1,"password":"x"}'), response=copied(b'{"token":"y","b":[2]}'))
    assert rendered(bodies) == META | {
        "requestBody": {"a": 1, "password": "[redacted]"},
        "responseBody": {"token": "[redacted]", "b": [2]},
    }


@pytest.mark.parametrize(
    ("coding", "compress"),
    [
        ("gzip", gzip.compress),
        ("GZIP ", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda data: zlib.compress(data, wbits=-15)),
        ("identity", bytes),
    ],
)
def test_compressed_bodies_are_read(coding: str, compress: Any) -> None:
    body = copied(compress(b'{"a":1}'), coding=coding)
    assert rendered(Bodies(response=body))["responseBody"] == {"a": 1}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (copied(b"\x00\xffk8s"), "not JSON"),
        (copied(b"{"), "not JSON"),
        (copied(b'{"a":' + b"1" * 50, length=BODY * 2), "longer than what is copied"),
        (copied(b"x", coding="br"), "its content encoding is not understood here"),
        (copied(b"x", coding="gzip"), "its compression is damaged"),
        (copied(gzip.compress(b" " * (MAX_DECODED + 1)), coding="gzip"), "too long when decompressed"),
        (copied(b"[" * 20_000 + b"]" * 20_000), "nested too deeply"),
    ],
)
def test_what_cannot_be_read_is_described(body: Copied, reason: str) -> None:
    entry = rendered(Bodies(request=body))
    assert "requestBody" not in entry
    digest = hashlib.sha256(body.data).hexdigest()
    described = {"reason": reason, "length": body.length, "kept": len(body.data), "sha256": digest}
    assert entry["requestBodyOmitted"] == described


@pytest.mark.parametrize("uri", ["/api/v1/secrets", "/v3-public/x?action=login"])
def test_short_secrets_have_no_digest(uri: str) -> None:
    entry = rendered(Bodies(request=copied(b"password=x"), response=copied(b"x")), requestURI=uri)
    assert entry["requestBodyOmitted"] == {"reason": "not JSON", "length": 10}
    assert entry["responseBodyOmitted"] == {"reason": "not JSON", "length": 1}


def test_a_watch_is_shown_as_its_events() -> None:
    events = [
        {"type": "ADDED", "object": {"kind": "Secret", "data": {"k": "Canary"}}},
        {"type": "BOOKMARK", "object": {"kind": "Pod"}},
    ]
    stream = b"".join(msgspec.json.encode(event) + b"\n" for event in events)
    shown = [
        {"type": "ADDED", "object": {"kind": "Secret", "data": {"k": "[redacted]"}}},
        {"type": "BOOKMARK", "object": {"kind": "Pod"}},
    ]
    assert rendered(Bodies(response=copied(stream)))["responseBody"] == shown
    assert rendered(Bodies(response=copied(stream + b'{"type":"ADD', length=9999)))["responseBody"] == shown


def test_a_sign_in_names_who_signs_in() -> None:
    body = copied(b'{"username":"eve","password":"Canary"}')
    uri = "/v3-public/localProviders/local?action=login"
    metadata = rendered(Bodies(request=body, name_only=True), requestURI=uri)
    assert metadata == META | {"requestURI": uri, "userLoginName": "eve"}
    full = rendered(Bodies(request=body), requestURI=uri)
    assert full["requestBody"] == {"username": "eve", "password": "[redacted]"}
    assert "requestBodyOmitted" not in rendered(Bodies(request=copied(b"x"), name_only=True), requestURI=uri)


@pytest.mark.parametrize("depth", [100, 300, 900, 1100])
def test_deep_bodies_never_cost_the_record(depth: int) -> None:
    entry = rendered(Bodies(request=copied(b'{"a":' * depth + b"1" + b"}" * depth)))
    assert entry["auditID"] == "x"


@pytest.mark.parametrize(
    "record",
    [
        LINE[:-1],
        LINE[3:],
        b"junk",
        b'{"auditID":1}\t{',
        LINE + b"\t" + b'{"request":{"data":"!!"}}',
        b'"auditID"',
        LINE + LINE,
    ],
)
def test_a_damaged_record_is_not_shown(record: bytes) -> None:
    entry = msgspec.json.decode(render(record))
    assert entry == {"auditLogError": "a record was cut off on its way and is lost", "length": len(record)}


@given(st.binary(max_size=200), st.sampled_from(["", "gzip", "deflate", "br"]))
def test_whatever_comes_the_line_is_json(data: bytes, coding: str) -> None:
    entry = rendered(
        Bodies(request=copied(data, coding=coding), response=copied(data, length=500, coding=coding))
    )
    assert entry["auditID"] == "x"
    assert b"\n" not in render(data.replace(b"\n", b""))
