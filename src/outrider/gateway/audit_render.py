"""A record and the bodies copied beside it, as the line that goes into the log."""

import hashlib
import zlib
from typing import Any

import msgspec

from outrider.gateway.audit_redact import login_name, redact_request, redact_response
from outrider.gateway.audit_tap import Bodies, Copied
from outrider.gateway.audit_topics import About, about

MAX_DECODED = 256 * 1024
"""Bytes up to which a compressed body is decompressed."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_decode_bodies = msgspec.json.Decoder(Bodies).decode
_valid = msgspec.json.Decoder(msgspec.Raw).decode
_WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class _Unreadable(Exception):
    """A body that cannot be shown; the text says why."""


def render(record: bytes) -> bytes:
    """The log's line, without newline, for a record as it came through the FIFO; of a damaged one, that it was."""
    line, tab, bodies = record.partition(b"\t")
    try:
        if not line.startswith(b'{"auditID":'):
            return damaged(record)
        _valid(line)
        return _with_bodies(line, _decode_bodies(bodies)) if tab else line
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return damaged(record)


def damaged(record: bytes) -> bytes:
    """A line that stands for a record of which only part arrived. None of it is shown: it may hold secrets."""
    return lost(len(record))


def lost(length: int) -> bytes:
    """A line that stands for a record of this many bytes."""
    return _encode({"auditLogError": "a record was cut off on its way and is lost", "length": length})


def _with_bodies(line: bytes, bodies: Bodies) -> bytes:
    entry: dict[str, Any] = _decode(line)
    try:
        return _encode(_rendered(dict(entry), bodies))
    except Exception as error:  # whatever a stranger's body brings about, the request itself is recorded
        return _encode(entry | {"auditLogError": f"its bodies cannot be shown: {type(error).__name__}"})


def _rendered(entry: dict[str, Any], bodies: Bodies) -> dict[str, Any]:
    topic = about(str(entry.get("requestURI", "")))
    if bodies.request is not None:
        _add_request(entry, bodies.request, topic, name_only=bodies.name_only)
    if bodies.response is not None:
        _add_response(entry, bodies.response, topic)
    return entry


def _add_request(entry: dict[str, Any], copied: Copied, topic: About, *, name_only: bool) -> None:
    try:
        body = _parse(copied)
    except _Unreadable as error:
        if not name_only:
            entry["requestBodyOmitted"] = _omitted(copied, topic, str(error))
        return
    if topic is About.SIGN_IN and (name := login_name(body)):
        entry["userLoginName"] = name
    if not name_only:
        entry["requestBody"] = redact_request(body, topic)


def _add_response(entry: dict[str, Any], copied: Copied, topic: About) -> None:
    try:
        entry["responseBody"] = redact_response(_parse(copied), topic)
    except _Unreadable as error:
        entry["responseBodyOmitted"] = _omitted(copied, topic, str(error))


def _omitted(copied: Copied, topic: About, reason: str) -> dict[str, Any]:
    """What is said of a body that is not shown.

    The digest is of the `kept` bytes that were copied. A sign-in or a Secret has none: what is short can be guessed
    from its digest.
    """
    omitted: dict[str, Any] = {"reason": reason, "length": copied.length}
    if topic is About.ANYTHING and copied.data:
        omitted |= {"kept": len(copied.data), "sha256": hashlib.sha256(copied.data).hexdigest()}
    return omitted


def _parse(copied: Copied) -> Any:
    """The body's JSON, or the list of documents of a stream; raises _Unreadable."""
    whole = len(copied.data) == copied.length
    data = _decompress(copied)
    try:
        return _decode(data)
    except RecursionError:
        raise _Unreadable("nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        documents = _documents(data, whole=whole)
    if documents:
        return documents
    raise _Unreadable("not JSON" if whole else "longer than what is copied")


def _documents(data: bytes, *, whole: bool) -> list[Any]:
    """The JSON documents of a stream that has one a line, as a watch does; none when it is something else."""
    lines = data.split(b"\n")
    last = lines.pop()
    if whole and last.strip():
        return []
    documents = []
    for line in lines:
        if not line.strip():
            continue
        try:
            documents.append(_decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return []
    return documents if all(isinstance(document, dict) for document in documents) else []


def _decompress(copied: Copied) -> bytes:
    coding = copied.coding.strip().lower()
    if coding in ("", "identity"):
        return copied.data
    window = _WINDOW.get(coding)
    if window is None:
        raise _Unreadable("its content encoding is not understood here")
    for bits in (window, -15) if coding == "deflate" else (window,):
        inflater = zlib.decompressobj(bits)
        try:
            data = inflater.decompress(copied.data, MAX_DECODED)
        except zlib.error:
            continue
        if inflater.unconsumed_tail:
            raise _Unreadable("too long when decompressed")
        if inflater.eof or len(copied.data) < copied.length:
            return data
    raise _Unreadable("its compression is damaged")
