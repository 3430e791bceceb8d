"""Which requests are events of authentication, so that whoever watches the log finds them by one field."""

import re

from outrider.gateway import routing
from outrider.gateway.audit_uri import decoded
from outrider.gateway.exchange import Exchange

LOGIN = "login"
LOGOUT = "logout"
REGISTRATION = "registration"
"""An agent asks for a tunnel."""
REFUSED = "authentication"
"""A credential was refused."""

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
    return REFUSED if exchange.status == 401 and exchange.credential else ""


def is_login(exchange: Exchange) -> bool:
    """Whether somebody signs in, with a body that names them: everything that is posted to the public API."""
    if exchange.method != b"POST" or exchange.route != routing.CONTROL:
        return False
    return decoded(exchange.uri[:_LOOKED_AT].decode("latin-1")).startswith(_SIGN_IN)
