"""What the routes of `/v3` read from a request, and how they answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from outrider.apis.norman import NormanError
from outrider.apis.views.view import Action, Json, Result, View


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response."""
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json")


async def body_of(request: Request) -> Json:
    """The JSON object in the body; an empty body is an empty object. Raises NormanError (422)."""
    try:
        return msgspec.json.decode(await request.body() or b"{}", type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        # msgspec's text may quote the body, which may hold a password
        raise NormanError(422, "the body is not a JSON object", code="InvalidBodyContent") from None


def path_of(request: HTTPConnection) -> str:
    """The path below `/v3`, its segments still encoded: an id may hold slashes."""
    raw = request.scope.get("raw_path") or request.scope["path"].encode()
    path: str = raw.partition(b"?")[0].decode("ascii", "replace")
    return path.removeprefix("/v3")


def method_of(request: Request) -> str:
    """The method, which a parameter may say in the place of a POST's."""
    if request.method != "POST":
        return request.method
    return request.query_params.get("_method", "POST").upper()


def check_method(view: View, method: str) -> None:
    """Raises NormanError 405 for a method that the view does not have."""
    if method not in view.methods:
        raise NormanError(405, f"{view.plural} do not take {method}")


def find_action(actions: Iterable[Action], request: Request) -> Action:
    """The action that a request names, whatever its case. Raises NormanError 404."""
    known = {action.name.lower(): action for action in actions}
    found = known.get(request.query_params["action"].lower())
    if found is None:
        raise unavailable(known.values())
    return found


def unavailable(actions: Iterable[Action]) -> NormanError:
    """The refusal of an action that is not offered."""
    names = ", ".join(action.name for action in actions)
    message = (
        f"this action is not available here; there is: {names}" if names else "there are no actions here"
    )
    return NormanError(404, message, code="ActionNotAvailable")


def no_right(view: View, action: Action) -> NormanError:
    """The refusal of an action whose right the user lacks."""
    verb = action.need.verb if action.need is not None else "see"
    return NormanError(403, f"you may not {verb} this {view.type}, which {action.name} needs")


def result(done: Result | Json | None, shown: Json) -> Response:
    """The answer to an action; `shown` is for one that says nothing itself."""
    said = done if isinstance(done, Result) else Result(body=done)
    response = answer(shown if said.body is None else said.body, said.status)
    for name, value in said.headers:
        response.headers.append(name, value)
    return response
