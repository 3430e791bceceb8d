"""The Setting and Feature objects that every installation has, made at start (contract, auth-and-rbac §6)."""

import asyncio
import logging
from collections.abc import Mapping

from outrider.apis.management import features, settings
from outrider.apis.management.auth_config import AUTH_CONFIGS, LOCAL_CONFIG, AuthConfig
from outrider.apis.management.feature import FEATURES, Feature
from outrider.apis.management.setting import SETTINGS, Setting
from outrider.kube.client import Client
from outrider.kube.meta import ObjectMeta

log = logging.getLogger(__name__)

LOCAL = "local"

_WIDTH = 8
_MINE = ("default", "source", "customized")


async def install(client: Client, environ: Mapping[str, str], computed: Mapping[str, str]) -> None:
    """Makes what is missing and brings defaults up to date; values that people chose stay. Raises KubeError.

    `computed` are settings that this server decides by itself (its version, its address, its CA): they become the
    default, which a chosen value overrides.
    """
    slots = asyncio.Semaphore(_WIDTH)
    held = {one.metadata.name: one for one in (await client.list(SETTINGS)).items}
    switches = {one.metadata.name: one for one in (await client.list(FEATURES)).items}

    async def ensure_setting(definition: settings.Definition) -> None:
        async with slots:
            default = computed.get(definition.name, definition.default)
            await _ensure_setting(client, definition, held.get(definition.name), default, environ)

    wanted = feature_overrides(environ.get("CATTLE_FEATURES", ""))

    async def ensure_feature(definition: features.Definition) -> None:
        async with slots:
            held = switches.get(definition.name)
            await _ensure_feature(client, definition, held, wanted.get(definition.name))

    await asyncio.gather(
        *(ensure_setting(definition) for definition in settings.DEFINITIONS),
        *(ensure_feature(definition) for definition in features.DEFINITIONS),
        _ensure_local_provider(client),
    )


async def _ensure_local_provider(client: Client) -> None:
    if await client.get_or_none(AUTH_CONFIGS, LOCAL) is None:
        config = AuthConfig(
            metadata=ObjectMeta(name=LOCAL), type=LOCAL_CONFIG, enabled=True, access_mode="unrestricted"
        )
        await client.apply(AUTH_CONFIGS, config)


async def _ensure_setting(
    client: Client,
    definition: settings.Definition,
    held: Setting | None,
    default: str,
    environ: Mapping[str, str],
) -> None:
    value = held.value if held is not None else ""
    source = "env" if definition.variable in environ else "db" if value else "default"
    facts = {"default": default, "source": source, "customized": bool(value)}
    if held is None:
        # Applied, not created: the API server holds back creations in a kind that is seconds old.
        await client.apply(
            SETTINGS, Setting(metadata=ObjectMeta(name=definition.name), default=default, source=source)
        )
    elif any(getattr(held, name) != facts[name] for name in _MINE):
        await client.patch(SETTINGS, definition.name, facts)


def feature_overrides(text: str) -> dict[str, bool]:
    """What `a=true,b=false` says of known features; the rest is logged and passed over."""
    wanted: dict[str, bool] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if name in features.RETIRED:
            continue
        if name not in features.BY_NAME or not equals or value not in ("true", "false"):
            log.warning("CATTLE_FEATURES: %r is passed over: it takes <known feature>=true|false", part)
            continue
        wanted[name] = value == "true"
    return wanted


async def _ensure_feature(
    client: Client, definition: features.Definition, held: Feature | None, wanted: bool | None
) -> None:
    if held is None:
        held = await client.apply(FEATURES, Feature(metadata=ObjectMeta(name=definition.name)))
    if wanted is not None and not definition.locked and held.spec.value is not wanted:
        held = await client.patch(FEATURES, definition.name, {"spec": {"value": wanted}})
    facts = {
        "default": definition.default,
        "dynamic": definition.dynamic,
        "description": definition.description,
        "locked_value": definition.default if definition.locked else None,
    }
    if any(getattr(held.status, name) != value for name, value in facts.items()):
        shown = {"lockedValue" if name == "locked_value" else name: value for name, value in facts.items()}
        await client.patch(FEATURES, definition.name, {"status": shown}, subresource="status")
