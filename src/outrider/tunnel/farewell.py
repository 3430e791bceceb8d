"""The order to leave a cluster whose record is gone, as the answer to an agent that still dials.

It is the body of a refusal with status 410, a `StateGone` that proves knowledge of the very credential which it
answers: HMAC-SHA-256 (RFC 2104) over a fixed text with the registration token as key. A balancer or an ingress
that answers 410 for reasons of its own makes no agent take its cluster apart.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from outrider.tunnel.reports import ReportError, StateGone, decode_server_message, encode

GONE: Final = 410
"""The status of the refusal."""

_TEXT: Final = b"outrider: the cluster was deleted"


def order(token: str, reason: str) -> str:
    """The refusal's body for the agent that showed `token`."""
    return encode(StateGone(reason=reason, proof=_proof(token))).decode()


def is_order(status: int, body: bytes, token: str) -> bool:
    """Whether a refusal is the order to leave, given to who showed `token`."""
    if status != GONE or not token:
        return False
    try:
        message = decode_server_message(body)
    except ReportError:
        return False
    return isinstance(message, StateGone) and hmac.compare_digest(
        message.proof.encode(), _proof(token).encode()
    )


def _proof(token: str) -> str:
    return hmac.new(token.encode(), _TEXT, hashlib.sha256).hexdigest()
