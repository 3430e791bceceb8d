"""A bad network between an agent and its server: what bends must not break, what breaks must mend by itself."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.e2e.conftest import until
from tests.failures.site import Site
from tests.failures.strain import Hanging, Strain
from tests.failures.times import Times
from tests.support.toxic import ToxicProxy, Weather

PROMISE = 30.0
"""Seconds within which either side notices that the other is gone."""


def notice(site: Site) -> float:
    """Seconds within which a silent peer must have been noticed at this site."""
    return PROMISE if site.times == "real" else 6.0


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


@pytest.mark.parametrize(
    ("name", "weather"),
    [
        ("latency 100 ms and 50 ms of jitter each way", Weather(latency=0.1, jitter=0.05)),
        ("2 % of segments lost", Weather(loss=0.02, retransmission=0.3)),
        ("32 KB/s each way", Weather(rate=32_000)),
    ],
    ids=["latency", "loss", "bandwidth"],
)
def test_what_bends_does_not_break(used: Strain, times: Times, name: str, weather: Weather) -> None:
    agent, opened = used.site.pid("agent"), used.site.proxy.accepted
    used.site.proxy.upward = used.site.proxy.downward = weather
    began = time.monotonic()
    time.sleep(6)
    assert used.watch_sees(5) < 5
    probes = used.since(began)
    assert used.failures(began) == []
    assert used.site.proxy.accepted == opened, "the tunnel is the one from before"
    assert used.site.pid("agent") == agent
    slowest = max(probe.ended - probe.began for probe in probes)
    usual = median([probe.ended - probe.began for probe in probes])
    remark = f"nothing fails; a get takes {usual:.2f} s, at most {slowest:.2f} s"
    times.add(name, times=used.site.times, recovered=0.0, remark=remark)


def test_a_tunnel_full_of_data_stays_up(timed: Strain, times: Times) -> None:
    """What travels is a sign of life, too: pings wait behind a long download for longer than the silence."""
    site = timed.site
    seconds, rate = (60.0, 100_000) if site.times == "real" else (9.0, 100_000)
    until(lambda: timed.watch_sees(10))
    blob = "x" * 700_000
    for number in range(10):
        name = f"bulk-{site.times}-{number}"
        site.direct.attempt("create", "configmap", name, f"--from-literal=blob={blob[:100_000]}")
    opened = site.proxy.accepted
    site.proxy.upward = Weather(rate=rate)
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        listed = site.kubectl.attempt(
            "get", "configmaps", "--output=json", "--request-timeout=60s", seconds=90
        )
        assert listed.returncode == 0, listed.stderr
    assert site.proxy.accepted == opened, "the tunnel is the one from before"
    took = time.monotonic() - began
    timed.watch_sees(20)
    for number in range(10):
        site.direct("delete", "configmap", f"bulk-{site.times}-{number}")
    remark = f"{took:.0f} s of downloads that fill the uplink; the tunnel holds"
    times.add("uplink full for longer than the silence", times=site.times, recovered=0.0, remark=remark)


@pytest.mark.parametrize(
    ("name", "cut"),
    [("RST without FIN", ToxicProxy.reset), ("connection closed in good order", ToxicProxy.finish)],
    ids=["rst", "fin"],
)
def test_a_cut_tunnel_is_dialled_again(
    used: Strain, times: Times, name: str, cut: Callable[[ToxicProxy], None]
) -> None:
    agent = used.site.pid("agent")
    began = time.monotonic()
    cut(used.site.proxy)
    ended = used.watch_ends(5)
    took = used.must_recover(began, 10)
    used.must_be_whole()
    assert used.site.pid("agent") == agent
    times.add(name, times=used.site.times, noticed=ended, recovered=took)


def test_a_silent_drop_is_noticed_on_both_sides(timed: Strain, times: Times) -> None:
    """A NAT forgets the connection: both sides keep it open, nothing arrives any more."""
    site, limit = timed.site, notice(timed.site)
    agent = site.pid("agent")
    agent_said = site.log("agent").count("nothing was heard for")
    gateway_said = site.log("gateway").count("the agent was silent for")
    began = time.monotonic()
    site.proxy.forget()
    hanging = Hanging(site, limit + 10)
    until(lambda: site.log("agent").count("nothing was heard for") > agent_said, limit)
    agent_noticed = time.monotonic() - began
    until(lambda: site.log("gateway").count("the agent was silent for") > gateway_said, limit - agent_noticed)
    status, ended = hanging.wait()
    assert status == 503
    assert ended - began < limit, "a request that was under way ends when the silence is noticed"
    took = timed.must_recover(began, limit + 5)
    timed.watch_ends(5)
    timed.must_be_whole()
    assert site.pid("agent") == agent
    remark = f"the agent noticed after {agent_noticed:.1f} s, the server after {ended - began:.1f} s"
    times.add("silent NAT drop", times=site.times, noticed=ended - began, recovered=took, remark=remark)


@pytest.mark.parametrize("direction", ["upward", "downward"])
def test_one_direction_alone_goes_silent(timed: Strain, times: Times, direction: str) -> None:
    """New connections do not get through either, until the network is well again."""
    site, limit = timed.site, notice(timed.site)
    began = time.monotonic()
    setattr(site.proxy, direction, Weather(silent=True))
    status, ended = Hanging(site, limit + 10).wait()
    assert status == 503
    assert ended - began < limit
    healed = time.monotonic()
    site.proxy.calm()
    took = timed.must_recover(healed, 20)
    timed.must_be_whole()
    name = (
        "only to the server nothing passes" if direction == "upward" else "only to the agent nothing passes"
    )
    times.add(name, times=site.times, noticed=ended - began, recovered=took, remark="counted from the repair")


@pytest.mark.parametrize("near", [True, False], ids=["agent", "server"])
def test_a_half_open_connection(timed: Strain, times: Times, near: bool) -> None:
    """One side hears of the end, the other does not."""
    site, limit = timed.site, notice(timed.site)
    began = time.monotonic()
    site.proxy.halve(near=near)
    # The agent that knows dials at once, and the newest tunnel counts; one that does not must find out first.
    took = timed.must_recover(began, 10 if near else limit + 5)
    timed.watch_ends(limit)
    timed.must_be_whole()
    who = "agent" if near else "server"
    times.add(f"half-open: only the {who} hears of the end", times=site.times, recovered=took)


def test_an_idle_time_out_of_a_load_balancer_does_not_strike(timed: Strain, times: Times) -> None:
    site = timed.site
    limit, wait = (30.0, 70.0) if site.times == "real" else (3.0, 9.0)
    timed.stop()  # what keeps the tunnel must be its keep-alives, not the gets
    opened = site.proxy.accepted
    site.proxy.idle_seconds = limit
    time.sleep(wait)
    assert site.proxy.accepted == opened, "keep-alives hold the tunnel"
    timed.watch_sees(5)
    remark = f"keep-alives held the tunnel for {wait:.0f} s"
    times.add(
        f"load balancer with an idle time-out of {limit:.0f} s",
        times=site.times,
        recovered=0.0,
        remark=remark,
    )


def test_a_server_out_of_reach_for_a_while(used: Strain, times: Times) -> None:
    site = used.site
    agent = site.pid("agent")
    site.proxy.refusing = True
    site.proxy.reset()
    time.sleep(12)
    tries = site.proxy.accepted
    time.sleep(5)
    assert site.proxy.accepted - tries <= 10, "redials keep their distance"
    healed = time.monotonic()
    site.proxy.calm()
    took = used.must_recover(healed, 31)
    used.must_be_whole()
    assert site.pid("agent") == agent
    times.add("no connection for 17 s", times=site.times, recovered=took, remark="counted from the repair")
