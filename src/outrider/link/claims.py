"""A `Claim` as a header value, and where a request of the control process keeps it.

The gateway encodes, the façade decodes and puts the result into the ASGI scope; routes of features read it
there. A claim is trusted because only the gateway can reach the socket and it strips the header from clients.
"""

import base64
import binascii
from collections.abc import Mapping, MutableMapping
from typing import Any

import msgspec

from outrider.link.messages import Claim

MAX_CLAIM = 256 * 1024
"""Bytes of an encoded claim: room for users with thousands of groups."""

_SCOPE_KEY = "outrider.claim"
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Claim)


class ClaimError(ValueError):
    """The header holds no claim: the gateway and this process do not fit together."""


def encode_claim(claim: Claim) -> str:
    """The header value: base64url of JSON, without padding."""
    return base64.urlsafe_b64encode(_encoder.encode(claim)).rstrip(b"=").decode("ascii")


def decode_claim(value: str) -> Claim:
    """The claim in a header value. Raises ClaimError."""
    if len(value) > MAX_CLAIM:
        raise ClaimError(f"claim of {len(value)} bytes is longer than {MAX_CLAIM}")
    try:
        padded = value + "=" * (-len(value) % 4)
        return _decoder.decode(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, msgspec.MsgspecError, ValueError, RecursionError):
        raise ClaimError("the claim header is not a base64url JSON claim") from None


def put_claim(scope: MutableMapping[str, Any], claim: Claim) -> None:
    """Attach the claim to an ASGI scope."""
    scope[_SCOPE_KEY] = claim


def claim_of(scope: Mapping[str, Any]) -> Claim:
    """The claim of an ASGI scope; anonymous when nobody attached one."""
    claim: Claim | None = scope.get(_SCOPE_KEY)
    return claim if claim is not None else Claim()
