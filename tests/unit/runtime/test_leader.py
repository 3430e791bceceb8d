import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from outrider.kit.tasks import cancel_and_wait
from outrider.kube.builtin import LEASES
from outrider.kube.client import Client
from outrider.kube.errors import TransportError
from outrider.kube.transport import Request, Response
from outrider.runtime.leader import Durations, LeaderElector
from tests.support.clock import FakeClock, settle
from tests.support.fake_api import FakeApi

SECONDS_2030 = int((datetime(2030, 1, 1, tzinfo=UTC) - datetime(2025, 1, 1, tzinfo=UTC)).total_seconds())


class Candidate:
    """An elector and what it did when elected."""

    def __init__(self, api: Any, clock: FakeClock, name: str, log: list[str]) -> None:
        self.elector = LeaderElector(Client(api), "lease", "ns", name, clock=clock, rand=lambda: 0.5)
        self._name = name
        self._log = log

    async def lead(self) -> None:
        self._log.append(f"{self._name} starts")
        try:
            await asyncio.Event().wait()
        finally:
            self._log.append(f"{self._name} stops")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.elector.run(self.lead))
        await settle(50)
        try:
            yield task
        finally:
            await cancel_and_wait(task)


def spec(api: FakeApi) -> dict[str, Any]:
    found: dict[str, Any] = api.objects["leases", "ns", "lease"]["spec"]
    return found


async def test_the_first_one_leads_and_renews() -> None:
    api, clock, log = FakeApi(LEASES), FakeClock(), list[str]()
    one = Candidate(api, clock, "one", log)
    async with one.running():
        assert one.elector.is_leader
        assert (one.elector.leader, one.elector.epoch) == ("one", SECONDS_2030)
        assert spec(api) == {
            "holderIdentity": "one",
            "leaseDurationSeconds": 15,
            "acquireTime": "2030-01-01T00:00:00.000000Z",
            "renewTime": "2030-01-01T00:00:00.000000Z",
            "leaseTransitions": SECONDS_2030,
        }
        await clock.advance(60)
        assert spec(api)["renewTime"] == "2030-01-01T00:01:00.000000Z"
        assert spec(api)["acquireTime"] == "2030-01-01T00:00:00.000000Z"
        assert log == ["one starts"]
    assert spec(api)["holderIdentity"] == ""
    assert log == ["one starts", "one stops"]
    assert not one.elector.is_leader


async def test_a_clean_stop_hands_over_soon_with_a_higher_epoch() -> None:
    api, clock, log = FakeApi(LEASES), FakeClock(), list[str]()
    one, two = Candidate(api, clock, "one", log), Candidate(api, clock, "two", log)
    async with one.running(), two.running():
        await clock.advance(60)
        assert log == ["one starts"]
        assert two.elector.leader == "one"
    async with two.running():
        await clock.advance(5)
        assert log == ["one starts", "one stops", "two starts"]
        assert two.elector.epoch > one.elector.epoch


async def test_a_dead_leader_is_followed_when_its_lease_has_been_seen_unchanged_for_its_duration() -> None:
    api, clock, log = FakeApi(LEASES), FakeClock(), list[str]()
    api.put(
        LEASES, "lease", "ns",
        # Its clock is a year ahead; only that the lease no longer changes counts.
        spec={"holderIdentity": "dead", "leaseDurationSeconds": 15, "leaseTransitions": 7,
              "renewTime": "2031-01-01T00:00:00.000000Z"},
    )  # fmt: skip
    two = Candidate(api, clock, "two", log)
    async with two.running():
        await clock.advance(14.9)
        assert log == []
        await clock.advance(4)
        assert log == ["two starts"]
        assert SECONDS_2030 + 15 <= two.elector.epoch <= SECONDS_2030 + 19


async def test_an_epoch_grows_by_one_where_the_lease_is_ahead_of_the_clock() -> None:
    api, clock, log = FakeApi(LEASES), FakeClock(), list[str]()
    api.put(LEASES, "lease", "ns", spec={"holderIdentity": "", "leaseTransitions": SECONDS_2030 + 500})
    one = Candidate(api, clock, "one", log)
    async with one.running():
        assert one.elector.epoch == SECONDS_2030 + 501


async def test_a_lease_that_is_renewed_is_never_taken() -> None:
    api, clock, log = FakeApi(LEASES), FakeClock(), list[str]()
    two = Candidate(api, clock, "two", log)
    for number in range(20):
        api.put(
            LEASES, "lease", "ns",
            # Its clock stands still at 2001.
            spec={"holderIdentity": "one", "leaseDurationSeconds": 15,
                  "renewTime": f"2001-01-01T00:00:00.{number:06}Z"},
        )  # fmt: skip
        if number == 0:
            task = asyncio.create_task(two.elector.run(two.lead))
        await clock.advance(10)
    assert log == []
    await cancel_and_wait(task)


async def test_the_same_process_name_does_not_wait_for_itself() -> None:
    api, clock, log = FakeApi(LEASES), FakeClock(), list[str]()
    api.put(
        LEASES, "lease", "ns",
        spec={"holderIdentity": "one", "leaseDurationSeconds": 15, "leaseTransitions": SECONDS_2030 + 3},
    )  # fmt: skip
    one = Candidate(api, clock, "one", log)
    async with one.running():
        assert log == ["one starts"]
        assert one.elector.epoch == SECONDS_2030 + 4


class Partition:
    """Cuts one candidate off; the other still reaches the API."""

    def __init__(self, api: FakeApi) -> None:
        self._api = api
        self.cut = False

    async def request(self, request: Request, *, timeout: float) -> Response:
        if self.cut:
            raise TransportError("no route")
        return await self._api.request(request, timeout=timeout)


async def test_a_leader_that_is_cut_off_stops_before_another_may_start() -> None:
    api, clock, log = FakeApi(LEASES), FakeClock(), list[str]()
    link = Partition(api)
    one, two = Candidate(link, clock, "one", log), Candidate(api, clock, "two", log)
    async with one.running(), two.running():
        await clock.advance(30)
        link.cut = True
        begin = clock.monotonic()
        while "one stops" not in log:
            await clock.advance(0.5)
        assert clock.monotonic() - begin <= 10.5
        assert log == ["one starts", "one stops"]
        while "two starts" not in log:
            await clock.advance(0.5)
        assert clock.monotonic() - begin <= 20
        link.cut = False
        await clock.advance(60)
        assert log == ["one starts", "one stops", "two starts"]
        assert one.elector.leader == "two"


async def test_short_trouble_does_not_cost_the_lead() -> None:
    api, clock, log = FakeApi(LEASES), FakeClock(), list[str]()
    link = Partition(api)
    one = Candidate(link, clock, "one", log)
    async with one.running():
        link.cut = True
        await clock.advance(7)
        link.cut = False
        await clock.advance(60)
        assert log == ["one starts"]


async def test_a_lease_taken_by_force_ends_the_lead_at_once() -> None:
    api, clock, log = FakeApi(LEASES), FakeClock(), list[str]()
    one = Candidate(api, clock, "one", log)
    async with one.running():
        api.put(LEASES, "lease", "ns", spec={"holderIdentity": "thief", "leaseDurationSeconds": 15})
        await clock.advance(2.1)
        assert log == ["one starts", "one stops"]
        assert spec(api)["holderIdentity"] == "thief"


@pytest.mark.parametrize("change", ["annotate", "delete"])
async def test_meddling_with_the_lease_object_does_not_cost_the_lead(change: str) -> None:
    api, clock, log = FakeApi(LEASES), FakeClock(), list[str]()
    one = Candidate(api, clock, "one", log)
    async with one.running():
        if change == "delete":
            api.drop(LEASES, "lease", "ns")
        else:
            api.put(LEASES, "lease", "ns", metadata={"annotations": {"a": "b"}}, spec=dict(spec(api)))
        await clock.advance(30)
        assert log == ["one starts"]
        assert spec(api)["holderIdentity"] == "one"
        assert spec(api)["leaseTransitions"] == one.elector.epoch
        assert one.elector.is_leader


async def test_two_that_start_together_do_not_both_lead() -> None:
    api, clock, log = FakeApi(LEASES), FakeClock(), list[str]()
    one, two = Candidate(api, clock, "one", log), Candidate(api, clock, "two", log)
    async with one.running(), two.running():
        await clock.advance(60)
        assert len(log) == 1
        assert one.elector.is_leader != two.elector.is_leader


async def test_work_that_ends_by_itself_ends_the_run_and_frees_the_lease() -> None:
    api = FakeApi(LEASES)
    elector = LeaderElector(Client(api), "lease", "ns", "one", clock=FakeClock())

    async def lead() -> None:
        assert elector.is_leader

    await elector.run(lead)
    assert spec(api)["holderIdentity"] == ""

    async def fail() -> None:
        raise LookupError("broken")

    with pytest.raises(LookupError):
        await elector.run(fail)
    assert spec(api)["holderIdentity"] == ""


async def test_a_renewal_that_is_never_answered_ends_the_lead_before_the_lease() -> None:
    """On the real clock: the wait for an answer is bounded by what the deadline leaves."""
    api = FakeApi(LEASES)

    class Mute:
        deaf = False

        async def request(self, request: Request, *, timeout: float) -> Response:
            if self.deaf:
                await asyncio.Event().wait()
            return await api.request(request, timeout=timeout)

    mute: Any = Mute()
    durations = Durations(lease=1.2, renew_deadline=0.8, retry=0.6)
    elector = LeaderElector(Client(mute), "lease", "ns", "one", durations=durations)
    loop = asyncio.get_running_loop()
    lasted: list[float] = []

    async def lead() -> None:
        mute.deaf = True
        begin = loop.time()
        try:
            await asyncio.Event().wait()
        finally:
            lasted.append(loop.time() - begin)

    task = asyncio.create_task(elector.run(lead))
    async with asyncio.timeout(5):
        while not lasted:
            await asyncio.sleep(0.01)
    await cancel_and_wait(task)
    assert 0.7 < lasted[0] < 1.2


@pytest.mark.parametrize("durations", [(10, 10, 2), (15, 2, 2), (15, 10, 0)])
def test_durations_must_leave_room(durations: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="leader election needs"):
        LeaderElector(Client(FakeApi(LEASES)), "l", "n", "i", durations=Durations(*durations))
