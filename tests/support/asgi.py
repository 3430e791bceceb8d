"""Speaks to an ASGI application as the gateway would: with a claim in the header."""

from collections.abc import Mapping
from http.cookies import SimpleCookie
from typing import Any

import msgspec

from outrider.link.claims import encode_claim
from outrider.link.messages import CLAIM_HEADER, Claim, Verdict

App = Any


class Answer:
    """A whole response."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.status = status
        self.raw_headers = [(name.decode().lower(), value.decode()) for name, value in headers]
        self.headers = dict(self.raw_headers)
        self.body = body

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    def cookies(self) -> SimpleCookie:
        jar: SimpleCookie = SimpleCookie()
        for name, value in self.raw_headers:
            if name == "set-cookie":
                jar.load(value)
        return jar


async def call(
    app: App,
    method: str,
    target: str,
    body: Any = None,
    *,
    claim: Claim | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send one request; a body that is not bytes goes as JSON."""
    content = body if isinstance(body, bytes) else (b"" if body is None else msgspec.json.encode(body))
    path, _, query = target.partition("?")
    lines = {"content-length": str(len(content)), "content-type": "application/json"}
    if claim is not None:
        lines[CLAIM_HEADER] = encode_claim(claim)
    lines |= {name.lower(): value for name, value in (headers or {}).items()}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in lines.items()],
        "client": None,
        "server": None,
    }
    sent: list[dict[str, Any]] = []
    pending = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive() -> dict[str, Any]:
        return pending.pop() if pending else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start = sent[0]
    return Answer(start["status"], start["headers"], b"".join(part.get("body", b"") for part in sent[1:]))


def claim_from(verdict: Verdict, *, host: str = "outrider.test", remote: str = "192.0.2.1") -> Claim:
    """The claim that a gateway makes of a verdict."""
    return Claim(
        identity=verdict.identity if verdict.status == 200 else None,
        token=verdict.token,
        user=verdict.user,
        code=verdict.code,
        message=verdict.message,
        host=host,
        remote=remote,
    )
