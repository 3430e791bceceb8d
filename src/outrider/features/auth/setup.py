"""Builds the feature: the only place that constructs its parts and registers them."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from starlette.routing import Route

from outrider.apis.ext.group import NAMESPACE as TOKENS_NAMESPACE
from outrider.apis.ext.group import USER_LABEL as OWNER_LABEL
from outrider.apis.ext.served import Served
from outrider.apis.management import features as known_features
from outrider.apis.management.cluster import Cluster
from outrider.apis.management.feature import FEATURES, Feature
from outrider.apis.management.setting import SETTINGS, Setting
from outrider.apis.management.token import KUBECONFIG_LABEL, TOKENS, Token
from outrider.apis.management.user import USERS, User
from outrider.apis.management.user_attribute import USER_ATTRIBUTES
from outrider.apis.views.view import View
from outrider.features.auth import settings as names
from outrider.features.auth.access import AccessReviews
from outrider.features.auth.arrival import Arrival
from outrider.features.auth.bootstrap import Bootstrap
from outrider.features.auth.freshness import Freshness, Heart
from outrider.features.auth.kubeconfig_tokens import KubeconfigTokens
from outrider.features.auth.limiter import LoginLimiter, RateLimiter
from outrider.features.auth.login import USERNAME_INDEX, LocalPasswords
from outrider.features.auth.passwords import DEFAULT_COST, Cost, PasswordPool
from outrider.features.auth.passwords import NAMESPACE as PASSWORDS_NAMESPACE
from outrider.features.auth.reconcile_tokens import (
    KUBECONFIG_INDEX,
    USER_INDEX,
    KubeconfigToTokens,
    TokenReconciler,
    UserToTokens,
)
from outrider.features.auth.routes_login import LoginRoutes
from outrider.features.auth.routes_review import ReviewRoute
from outrider.features.auth.served_access import Gatekeeper
from outrider.features.auth.served_activities import ServedActivities
from outrider.features.auth.served_requests import ServedRequests
from outrider.features.auth.served_tokens import ServedTokens
from outrider.features.auth.service import VerdictLink
from outrider.features.auth.settings import AuthSettings
from outrider.features.auth.stored_tokens import AllTokens
from outrider.features.auth.token_secrets import SELECTOR
from outrider.features.auth.tokens import LOCAL_PROVIDER, TokenIssuer
from outrider.features.auth.usage import TokenUsage
from outrider.features.auth.verdicts import Sources, VerdictService
from outrider.features.auth.view_principals import principal_views
from outrider.features.auth.view_tokens import OwnTokens, TokenViews
from outrider.features.auth.view_users import UserViews
from outrider.kit.clock import Clock
from outrider.kube.builtin import CLUSTERROLEBINDINGS, CLUSTERROLES, CONFIGMAPS, SECRETS
from outrider.kube.client import Client
from outrider.kube.meta import ObjectKey
from outrider.runtime.controller import Controller, Source
from outrider.runtime.informer import Event, Informer
from outrider.runtime.manager import Manager


class AuthConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between installations and tests. Intervals are in seconds."""

    environ: Mapping[str, str] = {}
    usage_interval: float = 60.0
    beat_interval: float = 1.0
    hash_width: int = 2
    hash_cost: Cost = DEFAULT_COST


class AuthFeature:
    """What others get of this feature.

    `link` serves gateways with `verdicts` and `freshness`; `bootstrap` runs on the leader, before the feature is
    of use; `issuer` mints tokens, `kubeconfig_tokens` those of stored kubeconfigs, which `gatekeeper` tells whose they
    are; `routes` and `views` go to
    the façade, and what is `served` to the API server.
    """

    def __init__(
        self,
        *,
        verdicts: VerdictService,
        freshness: Freshness,
        link: VerdictLink,
        bootstrap: Bootstrap,
        passwords: LocalPasswords,
        issuer: TokenIssuer,
        access: AccessReviews,
        settings: AuthSettings,
        routes: list[Route],
        views: list[View],
        served: list[Served],
        gatekeeper: Gatekeeper,
        kubeconfig_tokens: KubeconfigTokens,
        pool: PasswordPool,
    ) -> None:
        self.verdicts = verdicts
        self.freshness = freshness
        self.link = link
        self.bootstrap = bootstrap
        self.passwords = passwords
        self.issuer = issuer
        self.access = access
        self.settings = settings
        self.routes = routes
        self.views = views
        self.served = served
        self.gatekeeper = gatekeeper
        self.kubeconfig_tokens = kubeconfig_tokens
        self._pool = pool

    def close(self) -> None:
        """Stop the threads and timers."""
        self.freshness.close()
        self._pool.close()


def build(
    client: Client,
    manager: Manager,
    clusters: Informer[Cluster],
    clock: Clock,
    config: AuthConfig,
    *,
    vital: Client,
) -> AuthFeature:
    """Construct the feature and register its informers, controller and tasks with the manager."""
    tokens = manager.add_informer(
        Informer(client, TOKENS, indexes={USER_INDEX: _owner, KUBECONFIG_INDEX: _kubeconfig})
    )
    users = manager.add_informer(Informer(client, USERS, indexes={USERNAME_INDEX: _username}))
    attributes = manager.add_informer(Informer(client, USER_ATTRIBUTES))
    stored_settings = manager.add_informer(Informer(client, SETTINGS))
    features = manager.add_informer(Informer(client, FEATURES))
    manager.add_informer(clusters)
    secrets = manager.add_informer(
        Informer(
            client,
            SECRETS,
            namespace=TOKENS_NAMESPACE,
            labels=SELECTOR,
            indexes={USER_INDEX: _secret_owner, KUBECONFIG_INDEX: lambda secret: ()},
        )
    )
    all_tokens = AllTokens(tokens, secrets)

    settings = AuthSettings(stored_settings, config.environ)
    freshness = Freshness(clock)
    _follow_changes(client, manager, freshness, tokens, users)
    secrets.subscribe(freshness.extension_token_changed)
    attributes.subscribe(freshness.attribute_changed)
    clusters.subscribe(freshness.cluster_changed)
    stored_settings.subscribe(_basic_auth_watch(freshness))
    features.subscribe(_provider_watch(freshness))

    pool = PasswordPool(width=config.hash_width, cost=config.hash_cost)
    passwords = LocalPasswords(
        client=client, users=users, pool=pool, limiter=LoginLimiter(clock), settings=settings
    )
    issuer = TokenIssuer(client, settings)
    access = AccessReviews(client)
    usage = TokenUsage(client, all_tokens, clock, interval=config.usage_interval)
    providers = _providers(features)
    verdicts = VerdictService(
        client=client,
        sources=Sources(
            tokens=all_tokens,
            users=users,
            attributes=attributes,
            clusters=clusters,
            ready=lambda: manager.synced,
        ),
        settings=settings,
        passwords=passwords,
        pool=pool,
        access=access,
        freshness=freshness,
        misses=RateLimiter(clock, rate=20, burst=100),
        usage=usage,
        providers=providers,
        clock=clock,
    )
    reconciler = TokenReconciler(client, all_tokens, users, settings, clock)
    manager.add_controller(_token_controller(client, reconciler, all_tokens, (tokens, secrets, users), clock))
    manager.add_task("token usage", usage.run)

    arrival = Arrival(clock)
    login = LoginRoutes(
        client=client,
        passwords=passwords,
        issuer=issuer,
        providers=providers,
        v3_public=lambda: _is_on(features, "v3-public"),
        clock=clock,
    )
    own = OwnTokens(client=client, tokens=tokens, users=users, issuer=issuer, arrival=arrival)
    token_views = TokenViews(own=own, login=login, settings=settings, clock=clock)
    user_views = UserViews(client=client, users=users, passwords=passwords, access=access, arrival=arrival)
    gatekeeper = Gatekeeper(client=client, users=users, tokens=all_tokens, access=access)
    heart = Heart(vital, freshness, lambda: manager.synced, clock, interval=config.beat_interval)
    return AuthFeature(
        verdicts=verdicts,
        freshness=freshness,
        link=VerdictLink(verdicts, freshness, heart),
        bootstrap=Bootstrap(client, passwords, settings, config.environ),
        passwords=passwords,
        issuer=issuer,
        access=access,
        settings=settings,
        routes=[*login.routes(), *ReviewRoute(verdicts).routes()],
        served=[
            ServedTokens(client=client, gatekeeper=gatekeeper, settings=settings, clock=clock).served(),
            ServedActivities(client=client, gatekeeper=gatekeeper, settings=settings, clock=clock).served(),
            *ServedRequests(client=client, gatekeeper=gatekeeper, passwords=passwords, clock=clock).served(),
        ],
        gatekeeper=gatekeeper,
        kubeconfig_tokens=KubeconfigTokens(client, gatekeeper, issuer),
        views=[*user_views.views(), *token_views.views(), *principal_views(users)],
        pool=pool,
    )


def _follow_changes(
    client: Client,
    manager: Manager,
    freshness: Freshness,
    tokens: Informer[Token],
    users: Informer[User],
) -> None:
    tokens.subscribe(freshness.token_changed)
    users.subscribe(freshness.user_changed)
    passwords = manager.add_informer(Informer(client, SECRETS, namespace=PASSWORDS_NAMESPACE))
    passwords.subscribe(freshness.password_changed)
    # whether a cluster may be reached is decided by cluster-wide rights alone: clusters have no namespace
    roles = manager.add_informer(Informer(client, CLUSTERROLES))
    roles.subscribe(freshness.role_changed)
    bindings = manager.add_informer(Informer(client, CLUSTERROLEBINDINGS))
    bindings.subscribe(freshness.binding_changed)


def _token_controller(
    client: Client,
    reconciler: TokenReconciler,
    tokens: AllTokens,
    copies: tuple[Informer[Token], Informer[dict[str, Any]], Informer[User]],
    clock: Clock,
) -> Controller[ObjectKey]:
    plain, secrets, users = copies
    kubeconfigs = Informer(client, CONFIGMAPS, namespace=TOKENS_NAMESPACE)
    return Controller(
        "tokens",
        reconciler,
        workers=2,
        sources=[
            Source(plain),
            Source(secrets),
            Source(users, UserToTokens(tokens)),
            Source(kubeconfigs, KubeconfigToTokens(tokens)),
        ],
        clock=clock,
    )


def _basic_auth_watch(freshness: Freshness) -> Callable[[Event[Setting]], None]:
    def changed(event: Event[Setting]) -> None:
        setting = event.new or event.old
        if setting is not None and setting.metadata.name == names.BASIC_AUTH:
            freshness.everything_changed()

    return changed


def _provider_watch(freshness: Freshness) -> Callable[[Event[Feature]], None]:
    def changed(event: Event[Feature]) -> None:
        feature = event.new or event.old
        if feature is not None and feature.metadata.name == _HIDE_LOCAL:
            freshness.everything_changed()

    return changed


_HIDE_LOCAL = "hide-local-auth-provider"
_DEFAULTS = {one.name: one.default for one in known_features.DEFINITIONS}


def _providers(features: Informer[Feature]) -> Callable[[], frozenset[str]]:
    def enabled() -> frozenset[str]:
        return frozenset() if _is_on(features, _HIDE_LOCAL) else frozenset({LOCAL_PROVIDER})

    return enabled


def _is_on(features: Informer[Feature], name: str) -> bool:
    feature = features.get(ObjectKey("", name))
    if feature is None:
        return _DEFAULTS.get(name, False)
    locked, chosen = feature.status.locked_value, feature.spec.value
    if locked is not None:
        return locked
    return chosen if chosen is not None else _DEFAULTS.get(name, False)


def _owner(token: Token) -> tuple[str, ...]:
    return (token.user_id,) if token.user_id else ()


def _kubeconfig(token: Token) -> tuple[str, ...]:
    named = token.metadata.labels.get(KUBECONFIG_LABEL, "")
    return (named,) if named else ()


def _secret_owner(secret: dict[str, Any]) -> tuple[str, ...]:
    owner = (secret["metadata"].get("labels") or {}).get(OWNER_LABEL, "")
    return (owner,) if owner else ()


def _username(user: User) -> tuple[str, ...]:
    return (user.username,) if user.username else ()
