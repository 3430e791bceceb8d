import msgspec
import pytest

from outrider.kube import errors
from outrider.kube.errors import ApiError

CASES = [
    (400, "BadRequest", errors.BadRequest),
    (401, "Unauthorized", errors.Unauthorized),
    (403, "Forbidden", errors.Forbidden),
    (404, "NotFound", errors.NotFound),
    (409, "AlreadyExists", errors.AlreadyExists),
    (409, "Conflict", errors.Conflict),
    (410, "Expired", errors.Gone),
    (410, "Gone", errors.Gone),
    (422, "Invalid", errors.Invalid),
    (429, "TooManyRequests", errors.TooManyRequests),
    (503, "ServiceUnavailable", errors.Unavailable),
    (504, "Timeout", errors.Unavailable),
    (500, "InternalError", ApiError),
]


@pytest.mark.parametrize(("code", "reason", "kind"), CASES)
def test_a_status_becomes_the_error_of_its_code_and_goes_back(
    code: int, reason: str, kind: type[ApiError]
) -> None:
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "why",
        "reason": reason,
        "code": code,
        "details": {"name": "a", "kind": "pods"},
    }
    error = ApiError.from_response(code, msgspec.json.encode(status), {})
    assert type(error) is kind
    assert str(error) == "why"
    assert error.to_status() == status
    assert type(errors.from_status(status)) is kind


def test_retry_after_comes_from_the_header_or_the_details() -> None:
    status = b'{"kind":"Status","code":429,"details":{"retryAfterSeconds":3}}'
    assert ApiError.from_response(429, status, {"retry-after": "7"}).retry_after == 7
    assert ApiError.from_response(429, status, {}).retry_after == 3
    assert ApiError.from_response(429, b"slow down", {"retry-after": "soon"}).retry_after is None
    assert ApiError.from_response(429, b"", {"retry-after": "-1"}).retry_after is None
    assert ApiError.from_response(429, b"", {"retry-after": "nan"}).retry_after is None


@pytest.mark.parametrize("body", [b"", b"<html>bad gateway</html>", b"[]", b'{"kind":"Pod"}', b"\xff\xfe"])
def test_an_answer_that_is_no_status_still_says_what_happened(body: bytes) -> None:
    error = ApiError.from_response(502, body, {})
    assert error.code == 502
    assert error.message.startswith("the server answered 502")


def test_a_huge_error_page_is_cut() -> None:
    assert len(ApiError.from_response(500, b"x" * 100_000, {}).message) < 1100


def test_each_subclass_knows_its_code_and_reason() -> None:
    error = errors.NotFound("no such cluster")
    assert (error.code, error.reason) == (404, "NotFound")
    assert errors.from_status({}).code == 500
