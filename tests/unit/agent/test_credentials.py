"""The cache of impersonation accounts, with an API server that does what a test says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

import msgspec
import pytest

from outrider.agent.accounts import Grant
from outrider.agent.credentials import ImpersonationAccounts, Timing
from outrider.agent.keeper import AccountKeeper
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.errors import Forbidden, TransportError
from outrider.kube.identity import Identity
from outrider.kube.transport import Request, Response
from outrider.tunnel.exchange import CredentialError

QUICK = Timing(grace=10.0, prepare=0.5, unseen=0.05, trusted=1.0, rest=0.001)


class FakeKeeper:
    """Counts what it is asked to write; hands out a new token after each discarded one."""

    def __init__(self) -> None:
        self.written: list[tuple[str, Grant]] = []
        self.roles: list[tuple[str, Grant]] = []
        self.discarded = 0
        self.removed: list[str] = []
        self.error: Exception | None = None
        self.before: Callable[[], Any] | None = None

    async def write(self, user: str, grant: Grant) -> str:
        await self._pass()
        self.written.append((user, grant))
        return f"uid-{user}"

    async def write_role(self, user: str, grant: Grant) -> str:
        await self._pass()
        self.roles.append((user, grant))
        return "role-uid"

    async def token(self, user: str, account_uid: str) -> str:
        return f"token-of-{user}-number-{self.discarded}"

    async def discard_token(self, user: str) -> None:
        self.discarded += 1

    async def remove(self, user: str) -> None:
        self.removed.append(user)

    async def _pass(self) -> None:
        await asyncio.sleep(0)
        if self.before is not None:
            await self.before()
        if self.error is not None:
            raise self.error


class FakeServer:
    """Answers access reviews: by default it accepts all."""

    def __init__(self) -> None:
        self.reviews: list[Request] = []
        self.judge: Callable[[Request], int] = lambda _request: 201

    async def request(self, request: Request, *, timeout: float) -> Response:
        self.reviews.append(request)
        status = self.judge(request)
        if not status:
            raise TransportError("connection refused")
        return Response(status=status, headers={}, body=b"{}")

    def stream(self, request: Request, *, timeout: float) -> Any:
        raise AssertionError("a proof is one request")

    async def close(self) -> None:
        pass


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


class World:
    def __init__(self, timing: Timing = QUICK, **more: Any) -> None:
        self.keeper, self.server, self.clock = FakeKeeper(), FakeServer(), Clock()
        self.source = ImpersonationAccounts(
            cast(AccountKeeper, self.keeper), self.server, now=self.clock, timing=timing, **more
        )


def claim(user: str = "u-a", *groups: str, token: str = "t") -> bytes:
    return msgspec.json.encode(Identity(user=user, groups=groups, extra={"requesttokenid": (token,)}))


async def test_a_credential_is_proved_before_its_first_use() -> None:
    world = World()
    block = await world.source.prepare(claim("u-a", "dev"))
    assert len(world.server.reviews) == 1
    headers = world.server.reviews[0].headers
    assert ("Impersonate-Group", "dev") in headers
    assert ("Authorization", "Bearer token-of-u-a-number-0") in headers
    assert block.startswith(b"Authorization: Bearer token-of-u-a-number-0\r\nImpersonate-User: u-a\r\n")


async def test_a_change_of_groups_is_proved_again_and_writes_the_role_only() -> None:
    world = World()
    await world.source.prepare(claim("u-a", "dev"))
    await world.source.prepare(claim("u-a", "dev", "ops"))
    assert (len(world.keeper.written), len(world.keeper.roles), len(world.server.reviews)) == (1, 1, 2)
    assert world.keeper.roles[0][1].groups[:2] == ("dev", "ops")


async def test_another_token_costs_nothing() -> None:
    world = World()
    for number in range(20):
        await world.source.prepare(claim("u-a", "dev", token=str(number)))
    assert (len(world.keeper.written), len(world.keeper.roles), len(world.server.reviews)) == (1, 0, 1)


async def test_all_who_wait_share_one_attempt_and_its_failure() -> None:
    world = World()
    world.keeper.error = Forbidden("no")
    results = await asyncio.gather(
        *(world.source.prepare(claim()) for _ in range(50)), return_exceptions=True
    )
    assert all(isinstance(result, CredentialError) for result in results)
    assert "no" in str(results[0])
    world.keeper.error = None
    assert await world.source.prepare(claim())


async def test_one_who_leaves_takes_nothing_from_the_others() -> None:
    world = World()
    first, second = (asyncio.create_task(world.source.prepare(claim())) for _ in range(2))
    await asyncio.sleep(0)
    await cancel_and_wait(first)
    assert await second


async def test_a_token_that_is_not_accepted_is_replaced() -> None:
    world = World()
    world.server.judge = lambda request: 401 if "number-0" in str(request.headers) else 201
    block = await world.source.prepare(claim())
    assert b"number-1" in block
    assert world.keeper.discarded == 1


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, "does not let it impersonate"),
        (401, "token"),
        (500, "did not answer"),
        (0, "connection refused"),
    ],
)
async def test_what_cannot_be_proved_is_never_used(status: int, words: str) -> None:
    world = World()
    world.server.judge = lambda _request: status
    with pytest.raises(CredentialError, match=words):
        await world.source.prepare(claim())
    assert world.source.header_block(claim()) is None


async def test_a_preparation_that_hangs_ends() -> None:
    world = World(Timing(prepare=0.05))
    world.keeper.before = asyncio.Event().wait
    with pytest.raises(CredentialError, match="within"):
        await world.source.prepare(claim())


async def test_an_edit_during_the_proof_makes_another_look_necessary() -> None:
    world = World()
    edits = iter([True])

    def judge(_request: Request) -> int:
        if next(edits, False):
            world.source.doubt("u-a")
        return 201

    world.server.judge = judge
    await world.source.prepare(claim())
    assert len(world.keeper.written) == 2


async def test_one_who_edits_all_the_time_gets_nothing_through() -> None:
    world = World()

    def judge(_request: Request) -> int:
        world.source.doubt("u-a")
        return 201

    world.server.judge = judge
    with pytest.raises(CredentialError, match="changed by somebody else"):
        await world.source.prepare(claim())


async def test_doubt_takes_every_claim_of_the_user_back() -> None:
    world = World()
    mine, other = [claim("u-a", token=t) for t in "xy"], claim("u-b")
    for blob in (*mine, other):
        await world.source.prepare(blob)
    world.source.doubt("u-a")
    assert [world.source.header_block(blob) for blob in mine] == [None, None]
    assert world.source.header_block(other)
    await world.source.prepare(mine[0])
    assert len(world.keeper.written) == 3


async def test_a_401_right_after_a_proof_is_somebody_elses() -> None:
    world = World()
    await world.source.prepare(claim())
    assert not world.source.rejected(claim())
    assert world.source.header_block(claim())
    world.clock.time += 2
    assert world.source.rejected(claim())
    assert world.source.header_block(claim()) is None
    assert world.source.rejected(claim())


async def test_a_group_that_nobody_claims_any_more_leaves_the_role() -> None:
    world = World()
    old, new = claim("u-a", "dev"), claim("u-a", "ops")
    await world.source.prepare(old)
    await world.source.prepare(new)
    world.clock.time += 11
    world.source.header_block(new)
    world.source.doubt("u-a")
    task = asyncio.create_task(world.source.run())
    while len(world.keeper.written) < 2:
        await asyncio.sleep(0.001)
    await cancel_and_wait(task)
    assert world.keeper.written[-1][1].groups[0] == "ops"
    assert "dev" not in world.keeper.written[-1][1].groups


async def test_the_number_of_claims_is_bounded() -> None:
    world = World(max_claims=16)
    for number in range(200):
        world.clock.time += 1
        await world.source.prepare(claim(f"u-{number}"))
    ready = [number for number in range(200) if world.source.header_block(claim(f"u-{number}"))]
    assert len(ready) <= 16
    assert ready == list(range(200 - len(ready), 200))
    assert world.source.granted("u-0") is None


async def test_a_removed_account_is_forgotten() -> None:
    world = World()
    await world.source.prepare(claim())
    await world.source.remove("u-a")
    assert world.source.header_block(claim()) is None
    assert world.keeper.removed == ["u-a"]


async def test_no_token_shows_in_logs_errors_or_representations(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    with caplog.at_level(logging.DEBUG):
        world.server.judge = lambda _request: 403
        with pytest.raises(CredentialError) as caught:
            await world.source.prepare(claim())
        world.server.judge = lambda _request: 201
        await world.source.prepare(claim())
        task = asyncio.create_task(world.source.run())
        world.server.judge = lambda _request: 0
        world.source.doubt("u-a")
        while not caplog.records:
            await asyncio.sleep(0.001)
        await cancel_and_wait(task)
    shown = f"{caplog.text}{caught.value}{world.source!r}{vars(world.source)!r}"
    assert "token-of" not in shown


async def test_closing_ends_what_is_under_way() -> None:
    world = World()
    world.keeper.before = asyncio.Event().wait
    waiting = asyncio.create_task(world.source.prepare(claim()))
    await asyncio.sleep(0.01)
    await world.source.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
