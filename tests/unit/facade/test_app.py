from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from outrider.apis.norman import NormanError, Unauthenticated, retry_later
from outrider.facade.app import build_app
from outrider.facade.norman import from_kubernetes
from outrider.facade.paths import spellings
from outrider.features.auth.access import AccessUnknown
from outrider.features.auth.errors import Busy
from outrider.features.auth.requests import caller_of
from outrider.features.auth.views import answer
from outrider.kube import errors
from outrider.kube.identity import Identity
from outrider.link.claims import claim_of
from outrider.link.messages import CLAIM_HEADER, Claim
from tests.support.asgi import call

JANE = Identity("user-abcde", ("system:authenticated", "system:cattle:authenticated"), {})
SIGNED_IN = Claim(identity=JANE, user="user-abcde", token="token-abcde", host="h")
FAILURES: dict[str, Exception] = {
    "norman": NormanError(422, "bad <b>name</b>", code="InvalidCharacters", field="name"),
    "anonymous": Unauthenticated(),
    "later": retry_later(429, "slow down", 1.2),
    "forbidden": errors.Forbidden("users is forbidden"),
    "exists": errors.AlreadyExists("token exists"),
    "transport": errors.TransportError("connection refused by 10.0.0.1:6443"),
    "teapot": errors.ApiError("odd", code=418),
    "unknown": AccessUnknown("no answer"),
    "busy": Busy("too many"),
    "bug": RuntimeError("secret detail"),
}


async def echo(request: Request) -> Response:
    body = await request.body()
    return answer({"length": len(body), "user": claim_of(request.scope).user})


async def fail(request: Request) -> Response:
    raise FAILURES[request.path_params["how"]]


async def me(request: Request) -> Response:
    return answer({"user": caller_of(request).user})


async def cached(request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"a"

    return StreamingResponse(chunks(), headers={"Cache-Control": "max-age=60"})


@pytest.fixture(scope="module")
def app() -> Any:
    routes = [
        Route("/v3/echo", echo, methods=["GET", "POST"]),
        Route("/v3-public/echo", echo, methods=["POST"]),
        Route("/v3/fail/{how}", fail),
        Route("/v3/me", me),
        Route("/ui/file", cached),
    ]
    return build_app(routes, version=lambda: "v2.13.0", commit="abc", body_limit=lambda: 100)


async def test_version(app):
    got = await call(app, "GET", "/rancherversion")
    assert got.json() == {"Version": "v2.13.0", "GitCommit": "abc", "RancherPrime": "false"}


@pytest.mark.parametrize(("claim", "value"), [(SIGNED_IN, "true"), (Claim(), "false"), (None, "false")])
async def test_every_answer_says_whether_it_was_authenticated(app, claim, value):
    for target in ("/v3/echo", "/v3/nowhere", "/v3/fail/norman"):
        got = await call(app, "GET", target, claim=claim)
        assert got.headers["x-api-cattle-auth"] == value
        assert got.headers["x-content-type-options"] == "nosniff"
        assert got.headers["cache-control"] == "no-store"
        assert got.headers["content-type"] == "application/json"


async def test_a_route_may_say_how_long_it_is_cached(app):
    assert (await call(app, "GET", "/ui/file")).headers["cache-control"] == "max-age=60"


async def test_no_identity_gets_the_body_that_clients_compare(app):
    got = await call(app, "GET", "/v3/me", claim=Claim())
    assert got.status == 401
    assert got.json() == {
        "type": "error",
        "status": "401",
        "message": "Unauthorized 401: must authenticate",
    }


async def test_the_claims_message_is_shown(app):
    got = await call(
        app, "GET", "/v3/me", claim=Claim(code="Unauthorized", message="clusterID does not match")
    )
    assert got.json()["message"] == "Unauthorized 401: clusterID does not match"


async def test_a_locked_credential_is_429(app):
    claim = Claim(code="TooManyRequests", message="too many attempts")
    got = await call(app, "GET", "/v3/me", claim=claim)
    assert (got.status, got.headers["retry-after"]) == (429, "1")


async def test_with_identity(app):
    assert (await call(app, "GET", "/v3/me", claim=SIGNED_IN)).json() == {"user": "user-abcde"}


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ("norman", 422, "InvalidCharacters"),
        ("forbidden", 403, "PermissionDenied"),
        ("exists", 409, "AlreadyExists"),
        ("transport", 503, "ServerError"),
        ("teapot", 500, "ServerError"),
        ("later", 429, "TooManyRequests"),
        ("unknown", 503, "ServerError"),
        ("busy", 503, "ServerError"),
    ],
)
async def test_failures_in_normans_words(app, how, status, code):
    got = await call(app, "GET", f"/v3/fail/{how}", claim=SIGNED_IN)
    body = got.json()
    assert (got.status, body["type"], body["baseType"]) == (status, "error", "error")
    assert (body["status"], body["code"]) == (status, code)
    assert ("retry-after" in got.headers) == (status in (429, 503))
    assert b"10.0.0.1" not in got.body


async def test_a_bug_shows_no_trace_but_is_logged(app, caplog):
    got = await call(app, "GET", "/v3/fail/bug", claim=SIGNED_IN)
    assert got.status == 500
    assert got.json()["message"] == "internal error: see the server's log"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert "secret detail" in caplog.text


async def test_no_address_of_ours_reaches_the_client():
    assert "secret" not in from_kubernetes(errors.TransportError("secret detail")).message


@pytest.mark.parametrize(("method", "target", "status"), [("GET", "/v3/x", 404), ("PUT", "/v3/echo", 405)])
async def test_router_errors(app, method, target, status):
    got = await call(app, method, target)
    assert got.status == status
    assert got.json()["code"] == {404: "NotFound", 405: "MethodNotAllow"}[status]


@pytest.mark.parametrize(
    "value",
    ["", "garbage", "bnVsbA", "A" * 300_000],
)
async def test_a_claim_that_cannot_be_read_is_not_anonymous(app, value):
    got = await call(app, "GET", "/v3/echo", headers={CLAIM_HEADER: value})
    assert got.status == 500


@pytest.mark.parametrize(
    "identity",
    [
        Identity("system:admin", (), {}),
        Identity("", (), {}),
        Identity("user-a", ("system:masters",), {}),
        Identity("user-a", ("system:authenticated", "System:Masters"), {}),
    ],
)
async def test_no_claim_may_name_a_system_user_or_group(app, identity):
    got = await call(app, "GET", "/v3/me", claim=Claim(identity=identity, user="user-a"))
    assert got.status == 500
    assert "no claim may name" in got.json()["message"]


@pytest.mark.parametrize(
    ("claim", "size", "status"), [(None, 100, 200), (None, 101, 413), (SIGNED_IN, 101, 200)]
)
async def test_bodies_are_bounded(app, claim, size, status):
    got = await call(app, "POST", "/v3/echo", b"x" * size, claim=claim)
    assert got.status == status


async def test_a_body_longer_than_announced_is_cut_off(app):
    got = await call(app, "POST", "/v3/echo", b"x" * 5000, headers={"content-length": "10"})
    assert got.status == 413
    got = await call(app, "POST", "/v3/echo", b"", headers={"content-length": "-1"})
    assert got.status == 413


BROWSER = {"user-agent": "Mozilla/5.0 (X11)"}
COOKIES = "CSRF=0123456789abcdef; R_SESS=token-abcde:x"


async def test_a_browser_gets_an_anti_forgery_token(app):
    got = await call(app, "GET", "/v3/echo", headers=BROWSER)
    morsel = got.cookies()["CSRF"]
    assert len(morsel.value) == 32
    assert (morsel["secure"], morsel["path"], morsel["samesite"], morsel["httponly"]) == (
        True,
        "/",
        "lax",
        "",
    )
    again = await call(app, "GET", "/v3/echo", headers=BROWSER | {"cookie": COOKIES})
    assert not again.cookies()
    assert not (await call(app, "GET", "/v3/echo")).cookies()


@pytest.mark.parametrize(
    ("method", "target", "headers", "status"),
    [
        ("POST", "/v3/echo", BROWSER, 422),
        ("POST", "/v3/echo", BROWSER | {"cookie": COOKIES}, 422),
        ("POST", "/v3/echo", BROWSER | {"cookie": COOKIES, "x-api-csrf": "wrong"}, 422),
        ("POST", "/v3/echo", BROWSER | {"cookie": "CSRF=", "x-api-csrf": ""}, 422),
        ("POST", "/v3/echo", BROWSER | {"cookie": COOKIES, "x-api-csrf": "0123456789abcdef"}, 200),
        ("POST", "/v3/echo?CSRF=0123456789abcdef", BROWSER | {"cookie": COOKIES}, 200),
        ("GET", "/v3/echo", BROWSER | {"cookie": COOKIES}, 200),
        ("GET", "/v3/echo?_method=delete", BROWSER | {"cookie": COOKIES}, 422),
        ("POST", "/v3/echo?_method=GET", BROWSER | {"cookie": COOKIES}, 422),
        ("POST", "/v3/echo", {"user-agent": "curl/8"}, 200),
        # better than the reference: a cookie needs the proof whatever the user agent says
        ("POST", "/v3/echo", {"user-agent": "curl/8", "cookie": COOKIES}, 422),
        ("POST", "/v3-public/echo", BROWSER, 200),
    ],
)
async def test_forged_requests(app, method, target, headers, status):
    got = await call(app, method, target, headers=headers, claim=SIGNED_IN)
    assert got.status == status
    if status == 422:
        assert (got.json()["code"], got.json()["message"]) == ("InvalidCSRFToken", "Invalid CSRF token")


@given(st.binary(max_size=60), st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60))
async def test_no_header_or_body_breaks_it(body, text):
    app = build_app(
        [Route("/v3/echo", echo, methods=["POST"])], version=lambda: "v", commit="c", body_limit=lambda: 30
    )
    headers = {"cookie": text, "x-api-csrf": text, "user-agent": "mozilla", CLAIM_HEADER: text}
    got = await call(app, "POST", "/v3/echo", body, headers=headers)
    assert got.status in (200, 413, 422, 500)


@pytest.mark.parametrize("target", ["/v3/echo", "/v3/ECHO", "/v3/Echo?a=b"])
async def test_a_collection_is_found_whatever_its_case(app, target):
    assert (await call(app, "GET", target)).status == 200


@pytest.mark.parametrize("target", ["/V3/echo", "/v3/echo/X", "/v3/Fail", "/ui/FILE", "/v3", "/"])
async def test_only_the_collection_is(app, target):
    assert (await call(app, "GET", target)).status == 404


def test_two_spellings_of_one_collection_stay_apart():
    routes = [Route(path, echo) for path in ("/v3/aB", "/v3/ab/{id}", "/v3/cD/{id}", "/v3/{name}", "/x/yZ")]
    assert spellings(routes) == {("v3", "cd"): "cD"}
