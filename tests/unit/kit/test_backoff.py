import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.kit.backoff import Backoff


def test_it_doubles_up_to_its_maximum_and_starts_again_after_reset() -> None:
    backoff = Backoff(1, 10, jitter=0)
    assert [backoff.next() for _ in range(6)] == [1, 2, 4, 8, 10, 10]
    backoff.reset()
    assert backoff.next() == 1


def test_what_lasted_lowers_the_bound_but_not_below_the_first() -> None:
    backoff = Backoff(1, 30, jitter=0)
    assert [backoff.next() for _ in range(3)] == [1, 2, 4]
    backoff.earn(5)
    assert backoff.next() == 3
    backoff.earn(100)
    assert backoff.next() == 1


def test_full_jitter_uses_the_whole_range() -> None:
    draws = iter([0.0, 0.5, 0.999])
    backoff = Backoff(4, 100, rand=lambda: next(draws))
    assert [backoff.next(), backoff.next()] == [4, 4]
    assert backoff.next() == pytest.approx(0.016)


@given(
    st.floats(0.01, 10),
    st.floats(10, 1000),
    st.floats(1, 5),
    st.floats(0, 1),
    st.lists(st.floats(0, 0.9999), min_size=1, max_size=50),
)
def test_a_delay_stays_between_its_bounds(
    initial: float, maximum: float, factor: float, jitter: float, draws: list[float]
) -> None:
    numbers = iter(draws)
    backoff = Backoff(initial, maximum, factor, jitter, rand=lambda: next(numbers))
    ceiling = initial
    for _ in draws:
        delay = backoff.next()
        assert ceiling * (1 - jitter) - 1e-9 <= delay <= ceiling
        ceiling = min(ceiling * factor, maximum)


@pytest.mark.parametrize("arguments", [(0, 1), (2, 1), (1, 2, 0.5), (1, 2, 2, 1.1)])
def test_senseless_arguments_are_refused(arguments: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="backoff needs"):
        Backoff(*arguments)
