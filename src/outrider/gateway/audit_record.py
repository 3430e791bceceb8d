"""One exchange as one line of JSON: the contract's metadata (auth-and-rbac §5.3), made in a few microseconds.

What a line is made of is prepared as far as possible: the ids have a random prefix and count, the second of a time
stamp is rendered once, the user once a verdict, an address once, small numbers at import. `auditID` is a UUID whose
last 12 digits number this gateway's records, so that a gap in the log shows.
"""

import os
import time
from collections.abc import Collection
from typing import Protocol

import msgspec

from outrider.gateway import routing
from outrider.gateway.audit_events import REFUSALS, event_of, presented_name
from outrider.gateway.audit_uri import uri
from outrider.gateway.exchange import Exchange
from outrider.kube.identity import Identity
from outrider.link.messages import Verdict

_encode = msgspec.json.Encoder().encode
_KEPT_SECONDS = 64
_KEPT_ADDRESSES = 1024
_BYTES = tuple(b"%02x" % number for number in range(256))
_THOUSANDTHS = tuple(b"%03dZ" % number for number in range(1000))
_NUMBERS = tuple(b"%d" % number for number in range(2048))
_EVENTFUL = frozenset({routing.CONTROL, routing.TUNNEL})


class Clients(Protocol):
    """Says who the client is when a trusted proxy stands before us."""

    def client(self, exchange: Exchange) -> tuple[str, str, str]:
        """Remote address, scheme and host of the client."""


class Recorder:
    """Makes lines. Groups in `excluded` are left out of them (contract §5.1, AUDIT_EXCLUDE_GROUPS)."""

    def __init__(self, clients: Clients, *, excluded: Collection[str] = ()) -> None:
        self._clients = clients
        self._excluded = frozenset(excluded)
        self._prefix = b'{"auditID":"%b' % _id_prefix(os.urandom(10))
        self._batch = -1
        self._batch_prefix = b""
        self._seconds: dict[int, bytes] = {}
        self._addresses: dict[str, bytes] = {}

    def line(self, exchange: Exchange, number: int, extra: bytes = b"") -> bytes:
        """The record of an exchange, with its newline. `extra` are more members, each with a comma before it."""
        now = time.time()
        began = now - (time.monotonic() - exchange.started)
        more = extra if exchange.grant is None else self._user(exchange) + extra
        if exchange.route in _EVENTFUL or exchange.status in REFUSALS or exchange.impersonates:
            more += self._rarities(exchange)
        if number >> 8 != self._batch:
            self._batch = number >> 8
            self._batch_prefix = b"%b%010x" % (self._prefix, self._batch)
        first, second = int(began), int(now)
        return b"".join(
            (
                self._batch_prefix,
                _BYTES[number & 255],
                b'","requestURI":"',
                uri(exchange.uri),
                b'","method":"',
                exchange.method,
                b'","remoteAddr":',
                self._remote(exchange),
                b',"responseCode":',
                _decimal(exchange.status),
                b',"requestTimestamp":"',
                self._seconds.get(first) or self._second(first),
                _THOUSANDTHS[int((began - first) * 1000)],
                b'","responseTimestamp":"',
                self._seconds.get(second) or self._second(second),
                _THOUSANDTHS[int((now - second) * 1000)],
                b'","requestBytes":',
                _decimal(exchange.bytes_in),
                b',"responseBytes":',
                _decimal(exchange.bytes_out),
                more,
                b"}\n",
            )
        )

    def _remote(self, exchange: Exchange) -> bytes:
        remote = exchange.connection.remote
        if b"x-forwarded-for" in exchange.special:
            remote = self._clients.client(exchange)[0]
        return self._addresses.get(remote) or self._address(remote)

    def _address(self, remote: str) -> bytes:
        if len(self._addresses) > _KEPT_ADDRESSES:
            self._addresses.clear()
        text = self._addresses[remote] = _encode(remote)
        return text

    def _second(self, second: int) -> bytes:
        if len(self._seconds) > _KEPT_SECONDS:
            self._seconds.clear()
        text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second)).encode("ascii")
        self._seconds[second] = text
        return text

    def _user(self, exchange: Exchange) -> bytes:
        grant = exchange.grant
        if grant is None or grant.verdict is None:
            return b""
        if grant.audit is None:
            grant.audit = user_members(grant.verdict, self._excluded, former=grant.claim)
        return grant.audit

    def _rarities(self, exchange: Exchange) -> bytes:
        members = b""
        if exchange.impersonates and exchange.grant is None:
            members = b',"user":' + _encode(_requested(exchange.special))
        if exchange.route == routing.TUNNEL and exchange.cluster:
            members += b',"cluster":' + _encode(exchange.cluster)
        event = event_of(exchange)
        if not event:
            return members
        name = presented_name(exchange) if exchange.status in REFUSALS else ""
        if name:
            members += b',"userLoginName":' + _encode(name)
        return members + b',"event":' + _encode(event)


def user_members(verdict: Verdict, excluded: Collection[str] = (), *, former: bytes = b"") -> bytes:
    """The members `user` and `userLoginName` for a verdict.

    Of a refused one they tell whose the credential was: `former` is the identity, as JSON, of the last verdict
    about it that said yes, if there was one.
    """
    identity = verdict.identity
    if identity is None and former:
        identity = msgspec.json.decode(former, type=Identity)
    if identity is None:
        token = {"extra": {"requesttokenid": [verdict.token]}} if verdict.token else {}
        user = {"name": verdict.user, **token} if verdict.user else token
        return b',"user":' + _encode(user) if user else b""
    user = {
        "name": identity.user,
        "group": [group for group in identity.groups if group not in excluded],
        "extra": identity.extra,
    }
    members = b',"user":' + _encode(user)
    names = identity.extra.get("username", ())
    return members + b',"userLoginName":' + _encode(",".join(names)) if names else members


def _decimal(number: int) -> bytes:
    return _NUMBERS[number] if 0 <= number < len(_NUMBERS) else b"%d" % number


def _requested(special: dict[bytes, bytes]) -> dict[str, object]:
    groups = special.get(b"impersonate-group", b"").decode("latin-1")
    return {
        "requestUser": special.get(b"impersonate-user", b"").decode("latin-1"),
        "requestGroups": [group.strip() for group in groups.split(",") if group.strip()],
    }


def _id_prefix(random: bytes) -> bytes:
    # RFC 9562 §5.4: version 4 and its variant; the 48 bits that are left out here count
    digits = random.hex()
    variant = "89ab"[random[9] & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-{variant}{digits[15:18]}-".encode("ascii")
