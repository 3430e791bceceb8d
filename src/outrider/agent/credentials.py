"""The credentials with which the agent executes requests: each user's own impersonating service account.

A claim is ready when its header block is cached; then a request costs one dictionary look-up. Else the
account is made, and proved with an access review, before the first request goes out with it (architecture,
decision 4; auth-and-rbac §4.5).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final, NamedTuple

from outrider.agent.accounts import Grant, grant_for
from outrider.agent.claims import parse_claim
from outrider.agent.keeper import AccountKeeper
from outrider.agent.patience import waits
from outrider.agent.proof import Outcome, header_block, prove
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.errors import KubeError
from outrider.kube.identity import Identity
from outrider.kube.transport import Transport
from outrider.tunnel.exchange import CredentialError

log = logging.getLogger(__name__)

MAX_CLAIMS: Final = 4096
MAX_PENDING: Final = 512
_ATTEMPTS = 3


class _Claim:
    """A claim that is or was ready, and when it was last used."""

    __slots__ = ("block", "identity", "used")

    def __init__(self, identity: Identity, used: float) -> None:
        self.identity, self.used, self.block = identity, used, b""


class _Account:
    """What is known of one user's account.

    `sound` means: the objects are as `grant` says and were proven so. Whatever casts doubt on that clears it.
    """

    __slots__ = ("claims", "edits", "grant", "lock", "proven_at", "sound", "token", "uid", "user")

    def __init__(self, user: str) -> None:
        self.user = user
        self.lock = asyncio.Lock()
        self.claims: dict[bytes, _Claim] = {}
        self.grant: Grant | None = None
        self.token = ""
        self.uid = ""
        self.sound = False
        self.edits = 0
        self.proven_at = -1e9

    def newest(self) -> bytes:
        """The claim that was used last."""
        return max(self.claims, key=lambda claim: self.claims[claim].used)


class Timing(NamedTuple):
    """Seconds that `ImpersonationAccounts` works with; tests shorten them.

    Attributes:
        grace: how long recent claims keep their place in the role after a change of groups, so that requests
            under way with the claim from before are not refused.
        prepare: how long a preparation may take at most.
        unseen: for how long a proof is tried again while the API server has not yet seen the objects.
        proof: how long one proof may take.
        rest: between two rounds of repairs.
        trusted: for how long after a proof a 401 is not taken as a sign against the credential.
    """

    grace: float = 60.0
    prepare: float = 15.0
    unseen: float = 1.2
    proof: float = 5.0
    rest: float = 0.1
    trusted: float = 1.0


class ImpersonationAccounts:
    """The `CredentialSource` of the tunnel's data path.

    `keeper` writes the objects; `anonymous` is a transport to the API server that adds no credential. At most
    `max_claims` claims are ready at a time; the longest unused ones make room.
    """

    def __init__(
        self,
        keeper: AccountKeeper,
        anonymous: Transport,
        *,
        now: Callable[[], float],
        timing: Timing = Timing(),  # noqa: B008  immutable
        max_claims: int = MAX_CLAIMS,
    ) -> None:
        self._keeper = keeper
        self._anonymous = anonymous
        self._now = now
        self._timing = timing
        self._max_claims = max_claims
        self._ready: dict[bytes, _Claim] = {}
        self._accounts: dict[str, _Account] = {}
        self._pending: dict[bytes, asyncio.Task[bytes]] = {}
        self._slots = asyncio.Semaphore(16)
        self._doubtful: set[str] = set()
        self._wake = asyncio.Event()
        self._retired = False

    # CredentialSource

    def header_block(self, claim: bytes) -> bytes | None:
        """The header lines of a claim that is ready, else None."""
        ready = self._ready.get(claim)
        if ready is None:
            return None
        ready.used = self._now()
        return ready.block

    async def prepare(self, claim: bytes) -> bytes:
        """Makes the claim ready; all who wait for it share one attempt. Raises CredentialError."""
        block = self.header_block(claim)
        if block is not None:
            return block
        if self._retired:
            raise CredentialError("this cluster is being removed")
        task = self._pending.get(claim)
        if task is None:
            identity = parse_claim(claim)
            if len(self._pending) >= MAX_PENDING:
                raise CredentialError(
                    "too many impersonation accounts are being prepared; try again in a moment"
                )
            task = self._pending[claim] = asyncio.create_task(self._establish(claim, identity))
            task.add_done_callback(lambda done: self._settled(claim, done))
        return await asyncio.shield(task)

    def rejected(self, claim: bytes) -> bool:
        """The API server answered 401: whether that may be the credential's fault, which is repaired then."""
        ready = self._ready.get(claim)
        if ready is None:
            return True
        account = self._accounts.get(ready.identity.user)
        # A 401 may as well come from an aggregated API: that must not cost a repair each time.
        if account is None or self._now() - account.proven_at < self._timing.trusted:
            return False
        self.doubt(account.user)
        return True

    # repairs

    def granted(self, user: str) -> Grant | None:
        """What the role of the user should say, or None for a user that this agent has not served."""
        account = self._accounts.get(user)
        return account.grant if account is not None else None

    def doubt(self, user: str) -> None:
        """Something about the user's objects changed: nothing cached is used again before it was repaired."""
        account = self._accounts.get(user)
        if account is None:
            return
        account.edits += 1
        account.sound = False
        for claim in account.claims:
            self._ready.pop(claim, None)
        self._doubtful.add(user)
        self._wake.set()

    async def remove(self, user: str) -> None:
        """Deletes the user's account. Raises KubeError."""
        account = self._accounts.pop(user, None)
        for claim in account.claims if account is not None else ():
            self._ready.pop(claim, None)
        await self._keeper.remove(user)

    async def run(self) -> None:
        """Repairs what was cast into doubt and narrows roles that are wider than needed; never returns."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timing.grace):
                    await self._wake.wait()
            self._wake.clear()
            doubtful, self._doubtful = self._doubtful, set()
            for user in sorted(doubtful | self._wider()):
                await self._repair(user)
            # whoever breaks accounts over and over gets no more of our time than this
            await asyncio.sleep(self._timing.rest)

    def retire(self) -> None:
        """No account is made, mended or used any more."""
        self._retired = True
        self._ready.clear()
        self._accounts.clear()

    async def close(self) -> None:
        """Ends preparations that are under way."""
        await cancel_and_wait(*self._pending.values())

    # how it is done

    async def _establish(self, claim: bytes, identity: Identity) -> bytes:
        user = identity.user
        account = self._accounts.setdefault(user, _Account(user))
        try:
            async with asyncio.timeout(self._timing.prepare), account.lock, self._slots:
                account.claims[claim] = _Claim(identity, self._now())
                return await self._make(account, claim)
        except TimeoutError:
            cause = f"it was not ready within {self._timing.prepare:g} s"
        except (KubeError, CredentialError) as error:
            cause = str(error)
        self._retire(account, claim)
        raise CredentialError(f"cannot prepare the impersonation account of user {user}: {cause}")

    async def _make(self, account: _Account, claim: bytes) -> bytes:
        """Brings the account to where it serves the claim, and everything recent beside it."""
        identity = account.claims[claim].identity
        outcome = Outcome.NO_ANSWER
        for _ in range(_ATTEMPTS):
            edits = account.edits
            proven = await self._write(account)
            block = header_block(account.token, identity)
            outcome = Outcome.ACCEPTED if proven else await self._prove(account.token, identity)
            # What was edited while it was proved has to be looked at again.
            if outcome is Outcome.ACCEPTED and edits == account.edits:
                return self._accept(account, claim, block)
            account.sound = False
            if outcome is Outcome.BAD_TOKEN:
                await self._keeper.discard_token(account.user)
        raise CredentialError(
            "it is changed by somebody else all the time" if outcome is Outcome.ACCEPTED else outcome.value
        )

    async def _write(self, account: _Account) -> bool:
        """Writes what differs from what is wanted; returns whether the account is proven already."""
        if self._retired:
            raise CredentialError("this cluster is being removed")
        grant = self._wanted(account)
        if account.sound and grant == account.grant:
            return True
        role_only = account.sound
        account.sound = False
        account.grant = grant
        if role_only:
            await self._keeper.write_role(account.user, grant)
        else:
            account.uid = await self._keeper.write(account.user, grant)
            account.token = await self._keeper.token(account.user, account.uid)
        return False

    async def _prove(self, token: str, identity: Identity) -> Outcome:
        outcome = Outcome.NO_ANSWER
        for wait in waits(self._timing.unseen, 0.1):
            await asyncio.sleep(wait)
            outcome = await prove(self._anonymous, token, identity, timeout=self._timing.proof)
            if outcome is Outcome.ACCEPTED:
                break
        return outcome

    def _accept(self, account: _Account, claim: bytes, block: bytes) -> bytes:
        if not account.sound:
            account.sound = True
            account.proven_at = self._now()
        # One that was removed meanwhile serves who waited for it, nobody else.
        if self._accounts.get(account.user) is account:
            self._make_room()
            account.claims[claim].block = block
            self._ready[claim] = account.claims[claim]
        return block

    def _wanted(self, account: _Account) -> Grant:
        """The least grant for the claims used within the grace, or else for the newest; others are dropped."""
        since = min(account.claims[account.newest()].used, self._now() - self._timing.grace)
        for claim, entry in list(account.claims.items()):
            if entry.used < since:
                self._forget(account, claim)
        return grant_for(entry.identity for entry in account.claims.values())

    def _wider(self) -> set[str]:
        """Users whose role grants more than their recent claims need."""
        served = [account for account in self._accounts.values() if account.sound and account.claims]
        return {account.user for account in served if self._wanted(account) != account.grant}

    async def _repair(self, user: str) -> None:
        account = self._accounts.get(user)
        if account is None or not account.claims:
            return
        try:
            async with asyncio.timeout(self._timing.prepare), account.lock, self._slots:
                if account.claims and self._accounts.get(user) is account:
                    await self._make(account, account.newest())
        except (KubeError, CredentialError, TimeoutError) as error:
            log.warning("the impersonation account of user %s is not repaired yet: %s", user, error)

    def _make_room(self) -> None:
        """Forgets an eighth of the claims, the longest unused, when there are too many."""
        if len(self._ready) < self._max_claims:
            return
        oldest = sorted(self._ready, key=lambda claim: self._ready[claim].used)
        for claim in oldest[: max(1, self._max_claims // 8)]:
            account = self._accounts.get(self._ready[claim].identity.user)
            if account is not None:
                self._retire(account, claim)

    def _retire(self, account: _Account, claim: bytes) -> None:
        """Forgets a claim, and the account when that was its last."""
        self._forget(account, claim)
        if not account.claims and not account.lock.locked() and self._accounts.get(account.user) is account:
            del self._accounts[account.user]

    def _forget(self, account: _Account, claim: bytes) -> None:
        account.claims.pop(claim, None)
        self._ready.pop(claim, None)

    def _settled(self, claim: bytes, task: asyncio.Task[bytes]) -> None:
        self._pending.pop(claim, None)
        if not task.cancelled():
            task.exception()  # read, for all who waited may have left
