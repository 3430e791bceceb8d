import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.token import TOKENS
from outrider.apis.management.user import USERS, User
from outrider.features.auth.access import AccessReviews
from outrider.features.auth.freshness import Freshness
from outrider.features.auth.limiter import LoginLimiter, RateLimiter
from outrider.features.auth.login import USERNAME_INDEX, LocalPasswords
from outrider.features.auth.passwords import NAMESPACE, Cost, PasswordPool, derive, to_secret
from outrider.features.auth.settings import AuthSettings
from outrider.features.auth.usage import TokenUsage
from outrider.features.auth.verdicts import Sources, VerdictService
from outrider.kube.builtin import SECRETS
from outrider.kube.client import Client
from outrider.kube.errors import TransportError
from outrider.kube.meta import ObjectMeta
from outrider.kube.transport import Request, Response
from outrider.link.messages import Resolve, Verdict
from outrider.runtime.store import Store
from tests.support.clock import FakeClock
from tests.support.fake_api import FakeApi
from tests.unit.features.auth.samples import SECRET, a_token, a_user

REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
CHEAP = Cost(memory=64, passes=1)
GOOD = f"Bearer token-abcde:{SECRET}"
PASSWORD = "a good password"


class Rig:
    """A verdict service over stores that the test fills, and an API server that grants what it says."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.api = FakeApi(TOKENS, USERS, CLUSTERS, SECRETS)
        self.api.interfere = self._review
        self.granted: set[tuple[str, str]] = set()
        self.reviews: list[dict[str, Any]] = []
        self.failure: Exception | None = None
        self.synced = True
        self.environ: dict[str, str] = {}
        self.providers = frozenset({"local"})
        self.tokens: Store[Any] = Store({})
        self.users: Store[User] = Store({USERNAME_INDEX: lambda user: [user.username]})
        self.attributes: Store[Any] = Store({})
        self.clusters: Store[Any] = Store({})
        client = Client(self.api, max_retries=0)
        self.pool = PasswordPool(cost=CHEAP)
        self.freshness = Freshness(self.clock)
        settings = AuthSettings(Store({}), self.environ)
        self.usage = TokenUsage(client, self.tokens, self.clock)
        self.service = VerdictService(
            client=client,
            sources=Sources(
                tokens=self.tokens,
                users=self.users,
                attributes=self.attributes,
                clusters=self.clusters,
                ready=lambda: self.synced,
            ),
            settings=settings,
            passwords=LocalPasswords(
                client=client,
                users=self.users,
                pool=self.pool,
                limiter=LoginLimiter(self.clock),
                settings=settings,
            ),
            pool=self.pool,
            access=AccessReviews(client),
            freshness=self.freshness,
            misses=RateLimiter(self.clock, rate=1, burst=2),
            usage=self.usage,
            providers=lambda: self.providers,
            clock=self.clock,
        )
        self.put(self.users, a_user())
        self.put(self.tokens, a_token())
        self.put(self.clusters, Cluster(metadata=ObjectMeta(name="c-known")))
        secret = to_secret("user-abcde", "uid", derive(PASSWORD, CHEAP))
        meta = secret.pop("metadata")
        self.api.put(SECRETS, "user-abcde", NAMESPACE, metadata=meta, data=secret["data"])

    def put(self, store: Store[Any], obj: Any) -> None:
        store.put(obj.key, obj)

    def _review(self, request: Request) -> Response | Exception | None:
        if self.failure is not None:
            return self.failure
        if request.path != REVIEWS:
            return None
        spec = msgspec.json.decode(request.body)["spec"]
        self.reviews.append(spec)
        allowed = (spec["user"], spec["resourceAttributes"]["name"]) in self.granted
        return Response(status=201, headers={}, body=msgspec.json.encode({"status": {"allowed": allowed}}))

    async def ask(self, credential: str = GOOD, cluster: str = "", remote: str = "192.0.2.1") -> Verdict:
        return await self.service.resolve(
            Resolve(id=7, credential=credential, cluster=cluster, host="h", remote=remote)
        )

    def close(self) -> None:
        self.pool.close()
        self.freshness.close()


@pytest.fixture
def rig():
    rig = Rig()
    yield rig
    rig.close()


def basic(name: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


async def test_a_good_token_on_the_planes_own_api_needs_no_review(rig):
    verdict = await rig.ask()
    assert (verdict.status, verdict.token, verdict.user) == (200, "token-abcde", "user-abcde")
    assert verdict.identity is not None
    assert verdict.generation == rig.freshness.generation
    assert rig.reviews == []


async def test_the_token_also_comes_by_basic(rig):
    assert (await rig.ask(basic("token-abcde", SECRET))).status == 200


async def test_access_to_a_cluster_is_get_on_its_object(rig):
    rig.granted.add(("user-abcde", "c-known"))
    verdict = await rig.ask(cluster="c-known")
    assert verdict.status == 200
    (spec,) = rig.reviews
    assert spec["resourceAttributes"] == {
        "verb": "get",
        "group": "management.cattle.io",
        "resource": "clusters",
        "name": "c-known",
        "namespace": "",
    }
    assert spec["groups"] == ["system:authenticated", "system:cattle:authenticated"]
    assert spec["extra"]["requesttokenid"] == ["token-abcde"]


async def test_unknown_and_forbidden_clusters_give_the_same_answer(rig):
    rig.granted |= {("user-abcde", "c-unknown"), ("user-abcde", "c-known")}
    unknown = await rig.ask(cluster="c-unknown")
    rig.granted.clear()
    forbidden = await rig.ask(cluster="c-known")
    neither = await rig.ask(cluster="c-unknown")
    assert unknown.status == 404
    assert unknown == forbidden == neither


async def test_a_cluster_made_a_moment_ago_is_found(rig):
    rig.granted.add(("user-abcde", "c-new"))
    rig.api.put(CLUSTERS, "c-new")
    assert (await rig.ask(cluster="c-new")).status == 200


async def test_a_name_that_no_cluster_can_have_is_unknown(rig):
    rig.granted.add(("user-abcde", "a/b"))
    assert (await rig.ask(cluster="a/b")).status == 404


async def test_a_scoped_token_needs_both_its_cluster_and_the_right(rig):
    rig.put(rig.tokens, a_token(cluster_name="c-known"))
    refused = await rig.ask()
    assert (refused.status, refused.message) == (401, "clusterID does not match")
    assert (await rig.ask(cluster="c-known")).status == 404
    rig.granted.add(("user-abcde", "c-known"))
    assert (await rig.ask(cluster="c-known")).status == 200


@pytest.mark.parametrize(
    "credential",
    [
        "",
        "Bearer token-abcde:wrong",
        f"Bearer token-xxxxx:{SECRET}",
        f"Bearer ext/token-abcde:{SECRET}",
        f"Bearer token-abcde:{SECRET}:more",
        "Bearer a.b.c",
        "Negotiate abc",
    ],
)
async def test_bad_credentials_are_all_answered_alike(rig, credential):
    verdict = await rig.ask(credential, cluster="c-known")
    assert (verdict.status, verdict.code, verdict.message) == (401, "Unauthorized", "must authenticate")
    assert verdict.identity is None
    assert rig.reviews == []


async def test_a_secret_stored_in_the_clear_is_not_a_hash(rig):
    rig.put(rig.tokens, a_token(token=SECRET))
    assert (await rig.ask()).status == 401


async def test_a_token_made_by_another_replica_a_moment_ago_works(rig):
    token = a_token("token-fresh")
    fields = msgspec.to_builtins(token)
    fields["metadata"] = {"creationTimestamp": fields["metadata"]["creationTimestamp"]}
    rig.api.put(TOKENS, "token-fresh", **fields)
    assert (await rig.ask(f"Bearer token-fresh:{SECRET}")).status == 200


async def test_guessing_token_names_does_not_reach_the_api_server_without_end(rig):
    for number in range(20):
        assert (await rig.ask(f"Bearer token-{number:05}:{SECRET}")).status == 401
    assert len(rig.api.requests) == 2


async def test_lifetimes(rig):
    assert (await rig.ask()).ttl == 1  # the process has just begun
    await rig.clock.advance(2)
    assert (await rig.ask()).ttl == 30
    rig.put(rig.tokens, a_token(ttl=12_000))
    assert (await rig.ask()).ttl == 10
    assert (await rig.ask("Bearer token-abcde:wrong")).ttl == 1


async def test_the_generation_is_that_of_the_beginning(rig):
    # a change while the review is under way: the verdict must be older than the change
    rig.granted.add(("user-abcde", "c-known"))
    before = rig.freshness.generation
    inner = rig.api.interfere

    def changing(request: Request) -> Any:
        rig.freshness.everything_changed()
        return inner(request)

    rig.api.interfere = changing
    verdict = await rig.ask(cluster="c-known")
    assert verdict.status == 200
    assert verdict.generation == before < rig.freshness.generation


@pytest.mark.parametrize("failure", [TransportError("no answer"), None])
async def test_what_cannot_be_told_is_503_and_never_an_identity(rig, failure):
    rig.granted.add(("user-abcde", "c-known"))
    if failure is not None:
        rig.failure = failure
    else:
        rig.synced = False
    verdict = await rig.ask(cluster="c-known")
    assert (verdict.status, verdict.identity, verdict.ttl) == (503, None, 0)
    assert verdict.message == "cannot determine access, cluster is unavailable"


@pytest.mark.parametrize("body", [{}, {"status": None}, {"status": {"allowed": "true"}}])
async def test_a_review_that_does_not_say_yes_is_a_no(rig, body):
    rig.api.interfere = lambda request: Response(status=201, headers={}, body=msgspec.json.encode(body))
    assert (await rig.ask(cluster="c-known")).status == 404


async def test_a_user_and_password_by_basic(rig):
    verdict = await rig.ask(basic("jane", PASSWORD))
    assert (verdict.status, verdict.token, verdict.user) == (200, "", "user-abcde")
    assert verdict.identity is not None
    assert "requesttokenid" not in verdict.identity.extra


async def test_a_password_needs_the_right_to_a_cluster_too(rig):
    assert (await rig.ask(basic("jane", PASSWORD), cluster="c-known")).status == 404


async def test_bearer_never_takes_a_password(rig):
    assert (await rig.ask(f"Bearer jane:{PASSWORD}")).status == 401


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rig: rig.environ.update({"CATTLE_BASIC_AUTH_PASSWORD_ENABLED": "false"}),
        lambda rig: setattr(rig, "providers", frozenset()),
        lambda rig: rig.put(rig.users, a_user(enabled=False)),
        lambda rig: rig.put(rig.users, a_user(must_change_password=True)),
        lambda rig: rig.api.drop(SECRETS, "user-abcde", NAMESPACE),
    ],
)
async def test_when_a_right_password_is_refused(rig, spoil):
    spoil(rig)
    assert (await rig.ask(basic("jane", PASSWORD))).status == 401


async def test_a_password_that_must_change_says_so(rig):
    rig.put(rig.users, a_user(must_change_password=True))
    assert "must be changed" in (await rig.ask(basic("jane", PASSWORD))).message


async def test_passwords_by_basic_pass_the_limiter(rig):
    for _ in range(6):
        assert (await rig.ask(basic("jane", "wrong"))).status == 401
    locked = await rig.ask(basic("jane", PASSWORD))
    assert (locked.status, locked.ttl) == (429, 1)
    assert (await rig.ask(basic("jane", PASSWORD), remote="198.51.100.9")).status == 200
    await rig.clock.advance(1)
    assert (await rig.ask(basic("jane", PASSWORD))).status == 200


async def test_a_token_name_by_basic_is_never_tried_as_a_password(rig):
    rig.put(rig.users, a_user(username="token-user"))
    assert (await rig.ask(basic("token-user", PASSWORD))).status == 401


async def test_use_is_remembered_and_written_later(rig):
    rig.api.put(TOKENS, "token-abcde")
    await rig.ask()
    assert rig.api.requests == []
    await rig.usage.write()
    assert rig.api.objects[("tokens", "", "token-abcde")]["lastUsedAt"] == "2030-01-01T00:00:00Z"
    await rig.ask("Bearer token-abcde:wrong")
    written = len(rig.api.requests)
    await rig.usage.write()
    assert len(rig.api.requests) == written


async def test_a_date_written_by_another_replica_is_not_written_again(rig):
    rig.put(rig.tokens, a_token(last_used_at="2030-01-01T00:00:00Z"))
    await rig.ask()
    await rig.clock.advance(10)
    await rig.usage.write()
    assert rig.api.requests == []


@given(st.text(max_size=60), st.text(max_size=20))
async def test_no_input_raises(credential, cluster):
    rig = Rig()
    for form in (credential, f"Bearer {credential}", f"Basic {credential}", basic(credential, "x")):
        verdict = await rig.ask(form, cluster)
        assert verdict.status in (401, 429)
    rig.close()


async def test_an_expired_token_is_refused_at_its_moment(rig):
    await rig.clock.advance(3599)
    assert (await rig.ask()).status == 200
    await rig.clock.advance(1)
    verdict = await rig.ask()
    assert (verdict.status, verdict.code, verdict.message) == (401, "Expired", "must authenticate")
