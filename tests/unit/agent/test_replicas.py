"""Which replicas are sought, and when: a search that ends, spread in time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from outrider.agent.replicas import MAX_REPLICAS, MAX_SPREAD, Replicas
from outrider.tunnel.reports import Hello


def hello(replica: str, *replicas: str, spread: float = 0.5) -> Hello:
    return Hello(replica=replica, replicas=replicas, spread=spread)


def seeking(rand: float = 1.0) -> Replicas:
    return Replicas(again=300.0, rand=lambda: rand)


def test_one_replica_is_never_sought_twice() -> None:
    replicas = seeking()
    assert replicas.next_dial() is None
    assert replicas.greeted("t1", hello("a", "a"))
    assert (replicas.met, replicas.missing, replicas.next_dial()) == (["a"], frozenset(), None)


def test_the_others_are_sought_until_each_is_met() -> None:
    replicas = seeking()
    replicas.greeted("t1", hello("a", "a", "b", "c"))
    assert replicas.missing == {"b", "c"}
    assert replicas.next_dial() is not None
    replicas.greeted("t2", hello("c", "a", "b", "c"))
    assert replicas.missing == {"b"}
    replicas.greeted("t3", hello("b", "a", "b", "c"))
    assert replicas.next_dial() is None
    assert replicas.met == ["a", "b", "c"]


def test_a_second_tunnel_to_the_same_replica_is_needless() -> None:
    replicas = seeking()
    assert replicas.greeted("t1", hello("a", "a", "b"))
    assert not replicas.greeted("t2", hello("a", "a", "b"))
    assert replicas.greeted("t1", hello("a", "a", "b")), "the first one may greet again"
    replicas.gone("t2")
    assert replicas.met == ["a"]


def test_a_search_slows_down_and_rests() -> None:
    replicas = seeking()
    replicas.greeted("t1", hello("a", "a", "b"))
    delays = [replicas.next_dial() for _ in range(20)]
    quick = [delay for delay in delays if delay is not None and delay < 100]
    assert len(quick) == 14
    assert quick == sorted(quick)
    assert quick[0] == 0.5
    assert quick[-1] == 20.0
    assert set(delays[14:]) == {450.0}


def test_news_make_a_search_quick_again() -> None:
    replicas = seeking()
    replicas.greeted("t1", hello("a", "a", "b"))
    replicas.greeted("t2", hello("b", "a", "b"))
    replicas.greeted("t1", hello("a", "a", "b", "c"))
    for _ in range(30):
        replicas.next_dial()
    assert replicas.next_dial() == 450.0
    replicas.greeted("t1", hello("a", "a", "b", "c"))
    assert replicas.next_dial() == 450.0, "the same again is no news"
    replicas.greeted("t1", hello("a", "a", "b", "c", "d"))
    assert replicas.next_dial() == 0.5
    for _ in range(30):
        replicas.next_dial()
    replicas.gone("t2")
    assert replicas.missing == {"b", "c", "d"}
    assert replicas.next_dial() == 0.5


def test_who_left_is_not_sought() -> None:
    replicas = seeking()
    replicas.greeted("t1", hello("a", "a", "b"))
    replicas.greeted("t1", hello("a", "a"))
    assert replicas.next_dial() is None


def test_a_crowd_is_spread_as_the_server_says() -> None:
    replicas = Replicas(rand=lambda: 0.5)
    replicas.greeted("t1", hello("a", "a", "b", spread=20.0))
    assert replicas.next_dial() == 10.0
    replicas.greeted("t1", hello("a", "a", "b", "c", spread=1e9))
    assert replicas.next_dial() == MAX_SPREAD / 2


@given(st.lists(st.text(min_size=1, max_size=5), max_size=100), st.floats(0, 1))
def test_a_search_is_bounded_whatever_a_server_says(names: list[str], rand: float) -> None:
    replicas = Replicas(rand=lambda: rand)
    replicas.greeted("t1", hello("a", *names))
    assert len(replicas.missing) <= MAX_REPLICAS
    delays = [replicas.next_dial() for _ in range(200)]
    assert all(delay is None or 0 <= delay <= 450 for delay in delays)
    assert all(delay is None or delay >= 150 for delay in delays[-10:])
