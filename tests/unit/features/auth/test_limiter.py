import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.features.auth.errors import TooManyAttempts
from outrider.features.auth.limiter import LockRule, LoginLimiter, RateLimiter, network


class Time:
    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at

    def now(self):
        raise NotImplementedError

    async def sleep(self, seconds: float) -> None:
        self.at += seconds


@pytest.fixture
def clock():
    return Time()


def fail(limiter: LoginLimiter, times: int, user: str = "admin", address: str = "192.0.2.1") -> None:
    for _ in range(times):
        limiter.begin(user, address)


def wait(limiter: LoginLimiter, user: str = "admin", address: str = "192.0.2.1") -> float:
    with pytest.raises(TooManyAttempts) as caught:
        limiter.begin(user, address)
    return caught.value.retry_after


def test_a_few_mistakes_are_free_then_the_lock_doubles(clock):
    limiter = LoginLimiter(clock)
    fail(limiter, 6)
    assert wait(limiter) == 1
    clock.at += 1
    fail(limiter, 1)
    assert wait(limiter) == 2
    clock.at += 2
    fail(limiter, 1)
    assert wait(limiter) == 4


def test_the_lock_has_an_end(clock):
    limiter = LoginLimiter(clock)
    for _ in range(40):
        clock.at += 901
        fail(limiter, 1)
    assert 0 < wait(limiter) <= 900


def test_success_clears_the_pair(clock):
    limiter = LoginLimiter(clock)
    fail(limiter, 4)
    limiter.begin("admin", "192.0.2.1").succeeded()
    fail(limiter, 6)
    assert wait(limiter) == 1


def test_success_never_counts_against_anybody(clock):
    limiter = LoginLimiter(clock)
    for number in range(500):
        limiter.begin(f"user-{number % 7}", "192.0.2.1").succeeded()
    assert len(limiter) == 0


def test_another_address_is_not_locked_by_a_pair(clock):
    limiter = LoginLimiter(clock)
    fail(limiter, 6)
    wait(limiter)
    limiter.begin("admin", "192.0.2.2").succeeded()


def test_a_name_guessed_from_everywhere_locks_shortly(clock):
    limiter = LoginLimiter(clock)
    for number in range(21):
        limiter.begin("admin", f"192.0.2.{number}")
    assert wait(limiter, address="198.51.100.1") == 1
    for number in range(200):
        clock.at += 60
        limiter.begin("admin", f"203.0.113.{number}")
    assert wait(limiter, address="198.51.100.1") <= 60


def test_an_address_that_guesses_many_names_locks(clock):
    limiter = LoginLimiter(clock)
    for number in range(51):
        limiter.begin(f"user-{number}", "192.0.2.1")
    assert wait(limiter, user="somebody-else") == 1
    limiter.begin("somebody-else", "192.0.2.2")


def test_attempts_at_the_same_time_count_at_once(clock):
    limiter = LoginLimiter(clock)
    let_through = 0
    for _ in range(100):
        try:
            limiter.begin("admin", "192.0.2.1")
        except TooManyAttempts:
            continue
        let_through += 1
    assert let_through == 6


def test_withdrawn_attempts_cost_nothing(clock):
    limiter = LoginLimiter(clock)
    for _ in range(100):
        limiter.begin("admin", "192.0.2.1").withdrawn()
    assert len(limiter) == 0


def test_old_failures_are_forgotten(clock):
    limiter = LoginLimiter(clock)
    fail(limiter, 5)
    clock.at += 3601
    fail(limiter, 5)
    limiter.begin("admin", "192.0.2.1").succeeded()


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=200))
def test_memory_is_bounded(attempts):
    limiter = LoginLimiter(Time(), size=10)
    for user, address in attempts:
        try:
            limiter.begin(user, address)
        except TooManyAttempts:
            continue
    assert len(limiter) <= 30


def test_locks_cannot_overflow():
    rule = LockRule(free=0, longest=10.0)
    assert rule.lock(10**9) == 10.0
    assert rule.lock(0) == 0.0


def test_rate_limiter_refills(clock):
    limiter = RateLimiter(clock, rate=2, burst=3)
    assert [limiter.allow("192.0.2.1") for _ in range(4)] == [True, True, True, False]
    assert limiter.allow("192.0.2.2")
    clock.at += 0.5
    assert limiter.allow("192.0.2.1")
    assert not limiter.allow("192.0.2.1")


def test_rate_limiter_is_bounded(clock):
    limiter = RateLimiter(clock, rate=1, burst=1, size=5)
    for number in range(50):
        limiter.allow(f"192.0.2.{number}")
    assert len(limiter) == 5


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_what_counts_as_one_address(address, counted):
    assert network(address) == counted
