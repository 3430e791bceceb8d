"""The settings and features that clusters depend on, read from where they are kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from outrider import __version__
from outrider.apis.management.feature import Feature
from outrider.apis.management.setting import Setting
from outrider.apis.management.settings import BY_NAME
from outrider.features.clusters.registration import Policy
from outrider.kit.durations import parse_duration
from outrider.kube.meta import ObjectKey
from outrider.runtime.store import Lister

DEFAULT_AGENT_IMAGE = f"outrider/outrider-agent:v{__version__}"


class ClusterSettings:
    """Effective values: the environment's, else the stored value, else the default (contract: auth §6.1)."""

    def __init__(
        self, settings: Lister[Setting], features: Lister[Feature], environ: Mapping[str, str] | None = None
    ) -> None:
        self._settings = settings
        self._features = features
        self._environ = os.environ if environ is None else environ

    def value(self, name: str) -> str:
        """The value of a setting; empty for one that is neither stored nor known."""
        variable = "CATTLE_" + name.upper().replace("-", "_")
        if variable in self._environ:
            return self._environ[variable]
        stored = self._settings.get(ObjectKey("", name))
        known = BY_NAME[name].default if name in BY_NAME else ""
        if stored is None:
            return known
        return stored.value or stored.default or known

    def source(self, name: str) -> str:
        """Where the value comes from: ``env``, ``db`` or ``default``."""
        if "CATTLE_" + name.upper().replace("-", "_") in self._environ:
            return "env"
        stored = self._settings.get(ObjectKey("", name))
        return "db" if stored is not None and stored.value else "default"

    def feature(self, name: str, default: bool) -> bool:
        """Whether a feature is on."""
        feature = self._features.get(ObjectKey("", name))
        return default if feature is None else feature.enabled

    def registration_policy(self) -> Policy:
        """How registration tokens live."""
        return Policy(
            unit=self.value("crt-ttl-unit"),
            default_ttl=timedelta(minutes=self._number("crt-default-ttl-minutes", 43200)),
            default_grace=timedelta(minutes=self._number("crt-default-grace-period-minutes", 180)),
            rotation=self.feature("crt-token-ttl-rotation", default=True),
        )

    @property
    def agent_image(self) -> str:
        """The image of agents without an override."""
        return self.value("agent-image") or DEFAULT_AGENT_IMAGE

    @property
    def agent_rollout_timeout(self) -> timedelta:
        """How long the upgrade of one cluster's agent may take."""
        return parse_duration(self.value("agent-rollout-timeout")) or timedelta(seconds=300)

    @property
    def largest_wave(self) -> int:
        """Clusters whose agents are upgraded at a time at most; 0: no further one."""
        return self._number("agent-upgrade-largest-wave", 25)

    @property
    def tolerated_failures(self) -> int:
        """Clusters whose agents may fail to upgrade before no further one begins."""
        return self._number("agent-upgrade-tolerated-failures", 0)

    @property
    def default_affinity(self) -> dict[str, Any] | None:
        """The affinity of agents, if a setting names one."""
        try:
            return msgspec.json.decode(self.value("cluster-agent-default-affinity"), type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            return None

    def _number(self, name: str, default: int) -> int:
        text = self.value(name)
        return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else default
