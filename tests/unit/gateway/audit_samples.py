"""Exchanges that are over, and what the audit trail says of them the slow and obvious way."""

import os
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from outrider.gateway.exchange import Exchange
from outrider.gateway.verdicts import Grant
from outrider.kube.identity import Identity
from outrider.link.messages import Verdict

ALICE = Identity(
    "user-alice",
    ("system:authenticated", 'Größe "&" Co'),
    {"username": ("alice",), "requesttokenid": ("token-abcde",)},
)


def grant(verdict: Verdict | None = None) -> Grant:
    """A grant that says yes to alice, or whatever the verdict says."""
    made = Grant((b"Bearer token-abcde:x", "c-1"), "outrider.test", "192.0.2.7")
    made.verdict = verdict or Verdict(
        id=1, status=200, identity=ALICE, token="token-abcde", user="user-alice"
    )
    return made


def exchange(uri: bytes = b"/k8s/clusters/c-1/api/v1/pods", **fields: Any) -> Exchange:
    """An answered request of alice's; `fields` are set on it."""
    remote = fields.pop("remote", "192.0.2.7")
    method = fields.pop("method", b"GET")
    made = Exchange(SimpleNamespace(remote=remote, scheme="https"), method, uri, [])  # type: ignore[arg-type]
    made.special = {b"host": b"outrider.test", b"authorization": b"Bearer token-abcde:x"}
    made.credential = b"Bearer token-abcde:x"
    made.route, made.cluster, made.status, made.grant = "cluster", "c-1", 200, grant()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


class Clients:
    """Believes the last address in X-Forwarded-For."""

    def client(self, exchange: Exchange) -> tuple[str, str, str]:
        address = exchange.special[b"x-forwarded-for"].decode("latin-1").rpartition(",")[2]
        return address.strip(), "https", "h"


def rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Every line of a log, each of which must be a JSON object."""
    text = path.read_bytes() if path.exists() else b""
    assert not text or text.endswith(b"\n")
    return [msgspec.json.decode(line, type=dict[str, Any]) for line in text.splitlines()]


def read_all(descriptor: int) -> bytes:
    """What waits in a pipe."""
    data = b""
    while True:
        try:
            data += os.read(descriptor, 1 << 20)
        except BlockingIOError:
            return data
