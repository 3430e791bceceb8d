"""The head of a client's request: what is honoured, what ends at this hop, what is refused.

llhttp has parsed it, in its strict mode; what it lets pass and a proxy must not is refused here: more than one Host,
other versions than 1.0 and 1.1, transfer codings other than chunked, absolute or fragmentary targets, heads that are
too large (RFC 9112, RFC 9110 §7.6.1; auth-and-rbac §4.3).
"""

import re
from typing import TYPE_CHECKING

import httptools

from outrider.gateway import answers
from outrider.gateway.exchange import Exchange
from outrider.kit import http1

if TYPE_CHECKING:
    from outrider.gateway.connection import ClientConnection

MAX_LINES = http1.MAX_HEAD - 2048
"""Bytes of a request's target and header lines: what is added on the way must fit into a head, too."""
MAX_CREDENTIAL = 16 * 1024
MAX_LIST = 16 * 1024
"""Bytes of a header that is given more than once."""
COOKIE_NAME = b"R_SESS="

SPECIAL = http1.HOP_BY_HOP | {b"host", b"authorization", b"cookie", b"content-length", b"origin"}
"""Headers that are not passed on as lines."""
OWN = (
    b"impersonate-",
    b"x-forwarded-",
    b"x-remote-",
    b"x-outrider-",
    b"x-api-tunnel-",
    b"proxy-",
    b"forwarded",
)
"""Beginnings of names that only we may send on."""

FIRST_LINE = re.compile(rb"(GET|HEAD) (/[!$-~]*) HTTP/1\.1\r\n")
"""The first line of a plain request without a body."""

_SINGLE = frozenset(
    {b"host", b"authorization", b"content-length", b"transfer-encoding", b"upgrade", b"origin"}
)
_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE"})
_TUNNELLED = frozenset({b"websocket", b"spdy/3.1"})
_BODYLESS = frozenset({b"GET", b"HEAD"})
_HOST = re.compile(rb"[0-9A-Za-z._~\-:\[\]%]{1,300}")


class Refused(Exception):
    """The request must not be served; the connection ends after the answer."""

    def __init__(self, answer: answers.Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def gather(special: dict[bytes, bytes], name: bytes, value: bytes) -> None:
    """Keeps a header that is not passed on as a line; raises Refused for one that must not be given twice."""
    if name in special:
        if name in _SINGLE:
            raise Refused(answers.status(400, f"more than one {name.decode()} header"))
        if len(special[name]) > MAX_LIST:
            raise Refused(answers.status(431, f"too many {name.decode()} headers"))
        value = special[name] + (b"; " if name == b"cookie" else b", ") + value
    special[name] = value


def exchange_of(
    connection: "ClientConnection",
    parser: httptools.HttpRequestParser,
    target: bytes,
    lines: list[bytes],
    special: dict[bytes, bytes],
) -> Exchange:
    """The exchange that a complete head begins; raises Refused."""
    exchange = Exchange(connection, parser.get_method(), target, lines, special)
    version = parser.get_http_version()
    if exchange.method not in _METHODS:
        raise Refused(answers.status(405, "this method is not served here"))
    if special:
        _take_special(exchange, parser, special, version)
    if version != "1.1":
        if version != "1.0":
            raise Refused(answers.status(400, "only HTTP/1.0 and HTTP/1.1 are spoken here"))
        exchange.old = True
        exchange.close = b"keep-alive" not in special.get(b"connection", b"").lower()
    elif not exchange.host:
        raise Refused(answers.BAD_HOST)
    if target[:1] != b"/" or b"#" in target or not target.isascii():
        raise Refused(answers.BAD_TARGET)
    if sum(map(len, lines)) + len(target) > MAX_LINES or len(exchange.credential) > MAX_CREDENTIAL:
        raise Refused(answers.status(431, "the request's head is too large"))
    return exchange


def _take_special(
    exchange: Exchange, parser: httptools.HttpRequestParser, special: dict[bytes, bytes], version: str
) -> None:
    get = special.get
    _take_host(exchange, get(b"host", b""))
    exchange.credential = get(b"authorization", b"")
    cookie = get(b"cookie")
    if cookie:
        _take_cookie(exchange, cookie)
    if len(special) <= 2 and b"host" in special and (exchange.credential or cookie):
        return  # nothing else but Host and a credential: the common case
    exchange.origin = get(b"origin", b"")
    _take_length(exchange, special, version)
    connection = get(b"connection")
    if connection is not None:
        _take_connection(exchange, connection.lower())
    if parser.should_upgrade():
        _take_upgrade(exchange, get(b"upgrade", b""), version)
    exchange.impersonates = any(name.startswith(b"impersonate-") for name in special)
    if exchange.origin:
        exchange.lines.append(b"origin: %b\r\n" % exchange.origin)


def _take_host(exchange: Exchange, host: bytes) -> None:
    if host and host != exchange.connection.known_host:
        if _HOST.fullmatch(host) is None:
            raise Refused(answers.BAD_HOST)
        exchange.connection.known_host = host
    exchange.host = host


def _take_length(exchange: Exchange, special: dict[bytes, bytes], version: str) -> None:
    if b"content-length" in special:
        exchange.length = int(special[b"content-length"])
    coding = special.get(b"transfer-encoding")
    if coding is not None:
        if coding.lower() != b"chunked" or version != "1.1":
            raise Refused(answers.status(400, "no transfer coding but chunked is understood"))
        exchange.length = -1


def _take_connection(exchange: Exchange, value: bytes) -> None:
    exchange.close = b"close" in {token.strip() for token in value.split(b",")}
    ended = http1.named_in_connection(value)
    if ended:
        exchange.lines[:] = http1.without(exchange.lines, ended)


def _take_upgrade(exchange: Exchange, upgrade: bytes, version: str) -> None:
    if exchange.length:
        # The parser takes a body after such a head for the other protocol's bytes.
        raise Refused(answers.status(400, "a request that switches protocols must not have a body"))
    if upgrade.lower() in _TUNNELLED and version == "1.1" and exchange.method != b"HEAD":
        exchange.upgrade = upgrade


def _take_cookie(exchange: Exchange, cookie: bytes) -> None:
    if len(cookie) > MAX_CREDENTIAL:
        raise Refused(answers.status(431, "the request's cookies are too large"))
    exchange.cookie = cookie
    if exchange.credential:
        return
    for part in cookie.split(b";"):
        name = part.strip()
        if name.startswith(COOKIE_NAME):
            exchange.credential = b"Bearer " + name[len(COOKIE_NAME) :].strip(b'"')
            exchange.from_cookie = True
            return


class Familiar:
    """What the header lines of a request without a body came to, for the next request with the very same bytes.

    Clients send the same lines with every request on a connection; only the first line differs. `block` is the lines
    as they were sent, empty until they are known.
    """

    __slots__ = ("block", "cookie", "credential", "from_cookie", "host", "lines", "special")

    def __init__(self, exchange: Exchange) -> None:
        self.block = b""
        self.lines = tuple(exchange.lines)
        self.special = exchange.special
        self.host = exchange.host
        self.credential = exchange.credential
        self.cookie = exchange.cookie
        self.from_cookie = exchange.from_cookie


def familiar_of(exchange: Exchange) -> Familiar | None:
    """What may be reused of a request: nothing, unless its lines do not bear on its framing, method or route."""
    if exchange.length or exchange.upgrade or exchange.close or exchange.old:
        return None
    if exchange.impersonates or exchange.origin or exchange.method not in _BODYLESS:
        return None
    return Familiar(exchange)
