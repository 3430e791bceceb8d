"""Upgrades of agents against a model of a fleet that knows nothing of how they are planned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.cluster_status import AppliedStateStatus, DesiredStateStatus
from outrider.features.clusters.agent_upgrade import FIRST, Patience, stand
from outrider.features.clusters.upgrade_status import CONDITION, after
from outrider.features.clusters.waves import Standing, Step, Wave, choose, progress, wave, words
from outrider.kube import conditions as c
from outrider.kube.meta import ObjectMeta

START = datetime(2026, 1, 1, tzinfo=UTC)
TIMEOUT = timedelta(seconds=300)
OLD, NEW, NEWER, BROKEN = "agent:1", "agent:2", "agent:3", "agent:broken"


class Site:
    """One cluster: its record, and what really happens in it."""

    def __init__(self, name: str) -> None:
        self.record = Cluster(metadata=ObjectMeta(name=name))
        self.record.status.agent_image = OLD
        self.record.status.connected = True
        self.serving = OLD
        self.held = OLD
        self.begun: datetime | None = None
        self.told = False

    def stamp(self) -> None:
        self.record.status.desired_state = DesiredStateStatus(hash=self.record.status.agent_image)

    def work(self) -> None:
        """The agent takes the state over, Kubernetes replaces it if the new one can work, and it reports."""
        if not self.record.status.connected:
            return
        self.held = self.record.status.agent_image
        if self.held != BROKEN:
            self.serving = self.held
        self.stamp()
        self.record.status.applied_state = AppliedStateStatus(hash=self.held, agent_image=self.serving)
        self.told = self.told or self.serving == self.held


class Fleet:
    """Sites, a clock, and a leader that plans; asserts what must hold whenever it does."""

    def __init__(self, count: int, *, largest: int = 4, tolerated: int = 0) -> None:
        self.sites = {f"c-{number}": Site(f"c-{number}") for number in range(count)}
        self.largest, self.tolerated = largest, tolerated
        self.now = self.since = START
        self.wanted = OLD
        self.finished: set[str] = set()
        for site in self.sites.values():
            site.work()

    def want(self, image: str) -> None:
        if image != self.wanted:
            self.wanted = image
            for site in self.sites.values():
                site.begun, site.told = None, False

    def plan(self) -> list[str]:
        patience = Patience(TIMEOUT, self.since)
        standings = [stand(site.record, self.wanted, self.now, patience) for site in self.sites.values()]
        chosen = set(choose(standings, largest=self.largest, tolerated=self.tolerated))
        failed = self.failed()
        for standing in standings:
            site = self.sites[standing.name]
            step = Step.BEGIN if standing.name in chosen else standing.step
            site.record.status = after(site.record.status, step, self.wanted, TIMEOUT, self.now)
            site.stamp()
            if step is Step.LOST:
                site.begun = None
        for name in chosen:
            assert self.sites[name].record.status.connected, "an image is given where it cannot arrive"
            self.sites[name].begun, self.sites[name].told = self.now, False
        if chosen:
            assert len(failed) <= self.tolerated, f"{chosen} begin although {failed} failed"
            under_way, begun = self.under_way(), self.begun()
            assert len(under_way) <= self.largest
            # 1, 2, 4, …: a wave is one larger than all before it together
            assert len(under_way) <= len(begun - under_way) + 1
        return sorted(chosen)

    def begun(self) -> set[str]:
        return {name for name, site in self.sites.items() if site.begun is not None}

    def under_way(self) -> set[str]:
        return {
            name
            for name in self.begun()
            if not self.sites[name].told and self.now < (self.sites[name].begun or START) + TIMEOUT
        }

    def failed(self) -> set[str]:
        """Those that have had the image in time and in vain."""
        return {
            name
            for name in self.begun()
            for site in (self.sites[name],)
            if not site.told
            and site.held == self.wanted
            and self.now >= max(site.begun or START, self.since) + TIMEOUT
        }

    def settle(self, rounds: int = 60) -> None:
        """Let everybody do their work for some time."""
        for _ in range(rounds):
            self.plan()
            for site in self.sites.values():
                site.work()
            self.now += timedelta(seconds=10)


NAMES = st.integers(0, 7)
EVENTS = st.one_of(
    st.tuples(st.just("plan"), st.just(0)),
    st.tuples(st.just("work"), NAMES),
    st.tuples(st.just("connect"), NAMES),
    st.tuples(st.just("disconnect"), NAMES),
    st.tuples(st.just("wait"), st.sampled_from((1, 100, 400))),
    st.tuples(st.just("want"), st.sampled_from((OLD, NEW, NEWER, BROKEN))),
    st.tuples(st.just("lead"), st.just(0)),
)


def happen(fleet: Fleet, what: str, value: Any) -> None:
    site = fleet.sites.get(f"c-{value}")
    match what:
        case "plan":
            fleet.plan()
        case "work" if site:
            site.work()
        case "connect" | "disconnect" if site:
            site.record.status.connected = what == "connect"
        case "wait":
            fleet.now += timedelta(seconds=value)
        case "want":
            fleet.want(value)
        case "lead":
            fleet.since = fleet.now


@settings(max_examples=300, deadline=None)
@given(
    st.lists(EVENTS, max_size=80),
    st.integers(1, 8),
    st.integers(1, 5),
    st.integers(0, 2),
)
def test_whatever_happens_the_waves_hold_and_in_the_end_all_have_it(
    events: list[tuple[str, Any]], count: int, largest: int, tolerated: int
) -> None:
    fleet = Fleet(count, largest=largest, tolerated=tolerated)
    for what, value in events:
        happen(fleet, what, value)
    for site in fleet.sites.values():
        site.record.status.connected = True
    fleet.want("agent:final")
    fleet.settle()
    for site in fleet.sites.values():
        assert (site.serving, site.record.status.agent_image) == ("agent:final", "agent:final")
        standing = stand(site.record, "agent:final", fleet.now, Patience(TIMEOUT, fleet.since))
        assert standing.step is Step.SETTLED


@given(st.integers(0, 5000), st.integers(0, 50), st.integers(0, 40))
def test_the_size_of_a_wave_is_found_without_walking_through_all(
    begun: int, under_way: int, largest: int
) -> None:
    """Against the plain way: lay wave after wave until the next cluster's is found."""
    expected = Wave(0, 0)
    if largest:
        end, size = 1, 1
        while end < begun or (end == begun and not under_way):
            size = min(2 * size, largest)
            end += size
        expected = Wave(size, max(0, min(end - begun, size - under_way)))
    assert wave(begun, under_way, largest) == expected


def test_the_first_is_alone_and_the_waves_double() -> None:
    fleet = Fleet(20, largest=6)
    fleet.want(NEW)
    sizes = []
    for _ in range(20):
        if began := fleet.plan():
            sizes.append(len(began))
        for site in fleet.sites.values():
            site.work()
    assert sizes == [1, 2, 4, 6, 6, 1]
    assert {site.serving for site in fleet.sites.values()} == {NEW}


def test_a_bad_image_stops_at_the_first_and_the_old_one_serves() -> None:
    fleet = Fleet(20)
    fleet.want(BROKEN)
    fleet.settle(80)
    assert len(fleet.begun()) == 1
    assert {site.serving for site in fleet.sites.values()} == {OLD}
    (name,) = fleet.begun()
    condition = c.get_condition(fleet.sites[name].record.status.conditions, CONDITION)
    assert condition is not None
    assert (condition.status, condition.reason) == ("False", "NotConnected")
    assert BROKEN in condition.message
    assert f"the one with {OLD} still serves" in condition.message


def test_the_stop_outlives_its_leader() -> None:
    fleet = Fleet(20, largest=8, tolerated=0)
    fleet.want(NEW)
    for _ in range(3):
        fleet.plan()
        for site in fleet.sites.values():
            site.work()
    fleet.plan()
    broken = sorted(fleet.under_way())[0]
    fleet.now += TIMEOUT
    for name, site in fleet.sites.items():
        if name != broken:
            site.work()
    fleet.plan()
    fleet.since = fleet.now
    assert fleet.plan() == []


def test_tolerated_failures_do_not_stop() -> None:
    fleet = Fleet(20, tolerated=3)
    fleet.want(BROKEN)
    fleet.settle(200)
    # Waves of 1, 2 and 4: the third begins with 3 failures
    assert len(fleet.begun()) == 7


def test_going_back_is_at_once_where_the_new_one_never_served() -> None:
    fleet = Fleet(20, tolerated=3)
    fleet.want(BROKEN)
    fleet.settle(200)
    failed = fleet.begun()
    fleet.want(OLD)
    assert fleet.plan() == []
    images = {fleet.sites[name].record.status.agent_image for name in failed}
    assert images == {OLD}
    for name in failed:
        condition = c.get_condition(fleet.sites[name].record.status.conditions, CONDITION)
        assert condition is not None
        assert condition.status == "True"


def test_going_back_is_in_waves_where_the_new_one_serves() -> None:
    fleet = Fleet(20)
    fleet.want(NEW)
    fleet.settle()
    fleet.want(OLD)
    assert len(fleet.plan()) == 1


def test_another_image_in_the_middle_begins_with_one_again() -> None:
    fleet = Fleet(20)
    fleet.want(NEW)
    for _ in range(3):
        fleet.plan()
        for site in fleet.sites.values():
            site.work()
    assert len(fleet.plan()) == 4
    fleet.want(NEWER)
    assert len(fleet.plan()) == 1
    fleet.settle()
    assert {site.serving for site in fleet.sites.values()} == {NEWER}


def test_a_fix_goes_on_by_itself() -> None:
    """Whoever was late and arrives after all counts as arrived."""
    fleet = Fleet(5)
    fleet.want(NEW)
    (name,) = fleet.plan()
    fleet.now += TIMEOUT
    assert fleet.plan() == []
    fleet.sites[name].work()
    assert len(fleet.plan()) == 2


def test_who_is_away_blocks_nobody_and_catches_up() -> None:
    fleet = Fleet(3)
    away = fleet.sites["c-0"]
    away.record.status.connected = False
    fleet.want(NEW)
    fleet.settle(10)
    assert (away.serving, fleet.sites["c-2"].serving) == (OLD, NEW)
    away.record.status.connected = True
    fleet.settle(3)
    assert away.serving == NEW


def test_who_is_lost_before_the_image_arrives_is_no_failure() -> None:
    fleet = Fleet(3)
    fleet.want(NEW)
    (name,) = fleet.plan()
    lost = fleet.sites[name]
    lost.record.status.connected = False
    fleet.now += TIMEOUT
    (following,) = fleet.plan()
    assert following != name
    assert lost.record.status.agent_image == OLD


def test_who_is_lost_with_the_new_image_is_a_failure() -> None:
    fleet = Fleet(3)
    fleet.want(BROKEN)
    (name,) = fleet.plan()
    lost = fleet.sites[name]
    lost.work()
    lost.record.status.connected = False
    fleet.now += TIMEOUT
    fleet.plan()
    condition = c.get_condition(lost.record.status.conditions, CONDITION)
    assert condition is not None
    assert (condition.status, condition.reason) == ("False", "Disconnected")
    assert fleet.plan() == []
    # Whoever repairs it by hand applies the manifest, which has the image that is wanted by then
    fleet.want(NEW)
    fleet.plan()
    assert lost.record.status.agent_image == NEW
    assert c.get_condition(lost.record.status.conditions, CONDITION) is None, "nothing is known of it"


def test_a_new_agent_that_applies_worse_is_a_failure() -> None:
    fleet = Fleet(2)
    fleet.want(NEW)
    (name,) = fleet.plan()
    site = fleet.sites[name]
    site.work()
    assert site.record.status.applied_state is not None
    site.record.status.applied_state.failed = 2
    site.record.status.applied_state.failures = ["Secret x: no"]
    fleet.now += TIMEOUT
    fleet.plan()
    condition = c.get_condition(site.record.status.conditions, CONDITION)
    assert condition is not None
    assert condition.reason == "Failures"
    assert "2 objects of the desired state fail, 0 did before: Secret x: no" in condition.message


def test_a_cluster_with_an_image_of_its_own_gets_it_at_once_and_stops_nobody() -> None:
    fleet = Fleet(4)
    own = fleet.sites["c-3"]
    own.record.spec.agent_image_override = BROKEN
    patience = Patience(TIMEOUT, fleet.since)
    standing = stand(own.record, BROKEN, fleet.now, patience)
    assert (standing.step, standing.counted) == (Step.BEGIN, False)
    own.record.status = after(own.record.status, Step.BEGIN, BROKEN, TIMEOUT, fleet.now)
    late = stand(own.record, BROKEN, fleet.now + TIMEOUT, patience)
    assert late.step is Step.LATE
    ready = Standing(name="c-0", step=Step.READY)
    assert choose([late, ready], largest=4, tolerated=0) == ["c-0"]


@pytest.mark.parametrize("applied", [None, AppliedStateStatus(hash="x")])
def test_without_an_agent_in_its_deployment_there_is_nothing_to_wait_for(
    applied: AppliedStateStatus | None,
) -> None:
    record = Cluster(metadata=ObjectMeta(name="c-1"))
    record.status = msgspec.structs.replace(record.status, applied_state=applied, connected=True)
    standing = stand(record, NEW, START, Patience(TIMEOUT, START))
    assert standing.step is Step.ADOPT
    adopted = after(record.status, Step.ADOPT, NEW, TIMEOUT, START)
    assert (adopted.agent_image, adopted.agent_upgrade) == (NEW, None)


def test_who_is_labelled_is_first() -> None:
    fleet = Fleet(9)
    fleet.sites["c-7"].record.metadata.labels[FIRST] = "true"
    fleet.want(NEW)
    assert fleet.plan() == ["c-7"]


def test_zero_pauses() -> None:
    fleet = Fleet(3, largest=0)
    fleet.want(NEW)
    assert fleet.plan() == []


def test_the_words() -> None:
    def say(*steps: Step, largest: int = 25, tolerated: int = 0) -> str:
        standings = [Standing(name=f"c-{number}", step=step) for number, step in enumerate(steps)]
        return words(progress(standings), NEW, largest=largest, tolerated=tolerated)

    assert say() == ""
    assert say(Step.SETTLED, Step.ARRIVED) == "2 of 2 clusters have agent:2"
    assert (
        say(Step.UNDER_WAY, Step.READY, Step.AWAY)
        == "0 of 3 clusters have agent:2, 1 under way, 1 waiting, 1 not connected"
    )
    assert say(Step.READY, largest=0).endswith("1 waiting; paused: agent-upgrade-largest-wave is 0")
    stopped = say(Step.FAILED, Step.READY)
    assert stopped.startswith("stopped: 0 of 2 clusters have agent:2, 1 waiting; 1 failed: c-0 (see ")
    assert "set agent-image to another image" in stopped
    assert not say(Step.FAILED, Step.READY, tolerated=1).startswith("stopped")
