"""Which requests are events of authentication, so that whoever watches the log finds them by one field."""

import base64
import binascii
import re

from outrider.gateway import routing
from outrider.gateway.audit_secrets import looks_secret
from outrider.gateway.audit_uri import decoded
from outrider.gateway.exchange import Exchange

LOGIN = "login"
LOGOUT = "logout"
REGISTRATION = "registration"
"""An agent asks for a tunnel."""
REFUSED = "authentication"
"""A credential was refused."""
REFUSALS = frozenset({401, 429})
"""Answers to credentials that are wrong, or tried too often."""

_LOOKED_AT = 2048
_SIGN_IN = ("/v3-public/", "/v1-public/")
_EVENTS = (
    (re.compile(rb"POST /v1/logout|POST /v3/tokens/?\?(?:.*&)?action=logout"), LOGOUT),
    (re.compile(rb"POST /(?:v3/tokens?|v1/ext\.cattle\.io\.tokens)/?(?:\?|$)"), "tokenCreate"),
    (re.compile(rb"DELETE /(?:v3/tokens?|v1/ext\.cattle\.io\.tokens)/[^/?]"), "tokenDelete"),
    (re.compile(rb"(?i)POST /v[13]/[^?]*\?(?:.*&)?action=generatekubeconfig"), "kubeconfigCreate"),
    (re.compile(rb"POST /v3/users[^?]*\?(?:.*&)?action=(?:changepassword|setpassword)"), "passwordChange"),
)


def event_of(exchange: Exchange) -> str:
    """The event that a finished exchange is, empty for none; `responseCode` says how it ended."""
    if exchange.route == routing.CONTROL:
        if is_login(exchange):
            return LOGIN
        what = exchange.method + b" " + exchange.uri[:_LOOKED_AT]
        for pattern, event in _EVENTS:
            if pattern.match(what):
                return event
    if exchange.route == routing.TUNNEL:
        return REGISTRATION
    return REFUSED if _is_refused(exchange) else ""


def presented_name(exchange: Exchange) -> str:
    """The user name of HTTP Basic, empty when the credential is another one or the name may be a secret."""
    scheme, _, value = exchange.credential[:1024].partition(b" ")
    if scheme.lower() != b"basic":
        return ""
    try:
        name = base64.b64decode(value, validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return "" if looks_secret(name) else name


def _is_refused(exchange: Exchange) -> bool:
    # a cluster's API server may answer with these, too, to somebody whom we have let through
    known = exchange.grant is not None and exchange.grant.status == 200
    return exchange.status in REFUSALS and bool(exchange.credential) and not known


def is_login(exchange: Exchange) -> bool:
    """Whether somebody signs in, with a body that names them: everything that is posted to the public API."""
    if exchange.method != b"POST" or exchange.route != routing.CONTROL:
        return False
    return decoded(exchange.uri[:_LOOKED_AT].decode("latin-1")).startswith(_SIGN_IN)
