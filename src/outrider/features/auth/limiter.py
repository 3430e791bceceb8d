"""Slows down guessing of passwords, by user and by address, in bounded memory.

Three counters watch every attempt: of the user name from this address, of the user name from anywhere, and of
the address. Each allows some failures at no cost, then locks for a time that doubles with every further one.
The lock of a name from anywhere is short, so that a stranger cannot keep a person out for long; the lock of
the pair is long. An attempt is charged before its password is checked and given back when it succeeds:
attempts made at the same time count at once. Unknown names are treated like known ones.
"""

import hashlib
import ipaddress
from collections import OrderedDict

import msgspec

from outrider.features.auth.errors import TooManyAttempts
from outrider.kit.clock import Clock


class LockRule(msgspec.Struct, frozen=True, kw_only=True):
    """`free` failures cost nothing; the next locks `first` seconds, each further one twice as long up to
    `longest`. A counter without an attempt for `forget` seconds starts anew."""

    free: int
    first: float = 1.0
    longest: float
    forget: float = 3600.0

    def lock(self, failures: int) -> float:
        """Seconds of lock after so many failures."""
        beyond = failures - self.free
        if beyond <= 0:
            return 0.0
        return float(min(self.longest, self.first * 2.0 ** min(beyond - 1, 32)))


PAIR = LockRule(free=5, longest=900.0)
USER = LockRule(free=20, longest=60.0)
ADDRESS = LockRule(free=50, longest=300.0)


class _Counter(msgspec.Struct):
    failures: int = 0
    locked_until: float = 0.0
    touched: float = 0.0


class _Table:
    """Counters by key; the one untouched longest goes when the table is full."""

    def __init__(self, rule: LockRule, size: int) -> None:
        self._rule = rule
        self._size = size
        self._counters: OrderedDict[bytes, _Counter] = OrderedDict()

    def wait(self, key: bytes, now: float) -> float:
        counter = self._counters.get(key)
        return 0.0 if counter is None else counter.locked_until - now

    def charge(self, key: bytes, now: float) -> None:
        counter = self._counters.get(key)
        if counter is None or now - counter.touched > self._rule.forget:
            counter = self._counters[key] = _Counter()
        counter.failures += 1
        counter.touched = now
        counter.locked_until = now + self._rule.lock(counter.failures)
        self._counters.move_to_end(key)
        if len(self._counters) > self._size:
            self._counters.popitem(last=False)

    def forgive(self, key: bytes) -> None:
        counter = self._counters.get(key)
        if counter is None:
            return
        counter.failures -= 1
        counter.locked_until = 0.0
        if counter.failures <= 0:
            del self._counters[key]

    def forget(self, key: bytes) -> None:
        self._counters.pop(key, None)

    def __len__(self) -> int:
        return len(self._counters)


class Attempt:
    """One attempt that the limiter let through; report its success, or do nothing."""

    def __init__(self, limiter: "LoginLimiter", user: bytes, address: bytes) -> None:
        self._limiter = limiter
        self._user = user
        self._address = address

    def succeeded(self) -> None:
        """The password was right: the pair starts anew, the other counters get this attempt back."""
        self._limiter.succeeded(self._user, self._address)

    def withdrawn(self) -> None:
        """The password was not checked after all."""
        self._limiter.withdrawn(self._user, self._address)


class LoginLimiter:
    """Counts attempts. `size` bounds the entries of each of the three tables (about 200 bytes each)."""

    def __init__(
        self,
        clock: Clock,
        *,
        size: int = 20_000,
        pair: LockRule = PAIR,
        user: LockRule = USER,
        address: LockRule = ADDRESS,
    ) -> None:
        self._clock = clock
        self._pairs = _Table(pair, size)
        self._users = _Table(user, size)
        self._addresses = _Table(address, size)

    def begin(self, user: str, address: str) -> Attempt:
        """Charge an attempt to sign in as `user` from `address`. Raises TooManyAttempts while locked."""
        name, place = _digest(user), _digest(network(address))
        now = self._clock.monotonic()
        wait = max(
            self._pairs.wait(name + place, now),
            self._users.wait(name, now),
            self._addresses.wait(place, now),
        )
        if wait > 0:
            raise TooManyAttempts(wait)
        self._pairs.charge(name + place, now)
        self._users.charge(name, now)
        self._addresses.charge(place, now)
        return Attempt(self, name, place)

    def succeeded(self, name: bytes, place: bytes) -> None:
        """See `Attempt.succeeded`."""
        self._pairs.forget(name + place)
        self._users.forgive(name)
        self._addresses.forgive(place)

    def withdrawn(self, name: bytes, place: bytes) -> None:
        """See `Attempt.withdrawn`."""
        self._pairs.forgive(name + place)
        self._users.forgive(name)
        self._addresses.forgive(place)

    def __len__(self) -> int:
        return len(self._pairs) + len(self._users) + len(self._addresses)


class RateLimiter:
    """Token buckets by address, for work that strangers can cause: `rate` a second, `burst` at once."""

    def __init__(self, clock: Clock, *, rate: float, burst: int, size: int = 20_000) -> None:
        self._clock = clock
        self._rate = rate
        self._burst = burst
        self._size = size
        self._buckets: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def allow(self, address: str) -> bool:
        """Take one token of the address; false when it has none left."""
        key = _digest(network(address))
        now = self._clock.monotonic()
        level, since = self._buckets.get(key, (float(self._burst), now))
        level = min(float(self._burst), level + (now - since) * self._rate)
        allowed = level >= 1.0
        self._buckets[key] = (level - 1.0 if allowed else level, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._size:
            self._buckets.popitem(last=False)
        return allowed

    def __len__(self) -> int:
        return len(self._buckets)


def network(address: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 of an IPv6 one, which one host owns whole."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


def _digest(text: str) -> bytes:
    # fixed size: a name of a megabyte takes as little memory as any
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
