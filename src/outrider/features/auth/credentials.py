"""What a client presents: the forms of `Authorization` that we know (contract, auth-and-rbac §1.3)."""

import base64
import binascii

import msgspec

from outrider.apis.ext.token import BEARER_PREFIX

MAX_CREDENTIAL = 8 * 1024
"""Bytes of an `Authorization` value; longer ones are refused unread."""


class Presented(msgspec.Struct, frozen=True, kw_only=True):
    """A name and a secret. By HTTP Basic they may also be a user name and a password.

    The name of a token of ext.cattle.io is `ext/<name>`.
    """

    name: str
    secret: str
    basic: bool = False

    @property
    def may_be_token(self) -> bool:
        """A token's value has exactly two parts, and its name is that of an object."""
        name = self.name.removeprefix(BEARER_PREFIX)
        return bool(name) and ":" not in self.secret and len(name) <= 253 and "/" not in name

    def __repr__(self) -> str:
        return f"Presented(basic={self.basic})"


def parse(credential: str) -> Presented | None:
    """Read a raw `Authorization` value; None for what no form of ours fits.

    Schemes compare case-insensitively.
    """
    if len(credential) > MAX_CREDENTIAL:
        return None
    scheme, _, rest = credential.strip().partition(" ")
    value = rest.strip()
    match scheme.lower():
        case "bearer":
            return _split(value, basic=False)
        case "basic":
            return _split(_decoded(value), basic=True)
        case _:
            return None


def _split(value: str, *, basic: bool) -> Presented | None:
    name, colon, secret = value.partition(":")
    if not colon or not name or not secret:
        return None
    return Presented(name=name, secret=secret, basic=basic)


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
