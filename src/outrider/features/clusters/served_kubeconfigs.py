"""Kubeconfigs of ext.cattle.io/v1: for one, several or all clusters, each user's own (contract: auth §1.12)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol
from uuid import uuid4

import msgspec

from outrider.apis.ext.backed import Backed, Oversees, kept_marks, replaced_marks
from outrider.apis.ext.group import NAMESPACE
from outrider.apis.ext.kubeconfig import (
    ALL_CLUSTERS,
    COMPLETE,
    KUBECONFIG,
    KUBECONFIGS,
    PENDING,
    Kubeconfig,
    KubeconfigSpec,
    KubeconfigStatus,
)
from outrider.apis.ext.served import Caller, Json, Served
from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.node import Node
from outrider.features.clusters.endpoints import endpoints
from outrider.features.clusters.kubeconfigs import DEFAULT_ENTRY, Target, context_names, kubeconfig
from outrider.features.clusters.settings import ClusterSettings
from outrider.features.clusters.stored_kubeconfigs import shown, spec_of, status_data, stored
from outrider.kit.clock import Clock
from outrider.kube.builtin import CONFIGMAPS
from outrider.kube.client import Client
from outrider.kube.errors import BadRequest, Forbidden, Invalid, KubeError
from outrider.kube.meta import Condition, ObjectKey
from outrider.kube.rules import Rules, own_rules
from outrider.runtime.store import Lister

_SETTLED: Final = ("clusters", "current_context", "ttl", "include_default_entry")
"""Fields of the spec that no update changes."""


class Tokens(Protocol):
    """Where tokens for kubeconfigs come from."""

    async def check(self, caller: Caller) -> None:
        """Raises ApiError for somebody who cannot have any."""

    async def mint(self, caller: Caller, *, cluster: str, ttl: int, kubeconfig: str) -> tuple[str, str]:
        """A new one's name and value; ttl in ms, `cluster` empty for all. Raises ApiError."""
        ...


class ServedKubeconfigs:
    """Creates, shows, describes anew and deletes them."""

    def __init__(
        self,
        *,
        client: Client,
        clusters: Lister[Cluster],
        nodes: Lister[Node],
        settings: ClusterSettings,
        tokens: Tokens,
        oversees: Oversees,
        clock: Clock,
    ) -> None:
        self._client = client
        self._clusters = clusters
        self._nodes = nodes
        self._settings = settings
        self._tokens = tokens
        self._clock = clock
        self._backed = Backed(client, KUBECONFIGS, CONFIGMAPS, KUBECONFIG, show=shown, oversees=oversees)

    def served(self) -> Served:
        """The declaration."""
        backed = self._backed
        return Served(
            kind=KUBECONFIGS,
            create=self._create,
            get=backed.get,
            select=backed.select,
            watch=backed.watch,
            update=self._update,
            delete=backed.delete,
        )

    # Creating

    async def _create(self, caller: Caller, sent: Json, *, dry_run: bool) -> Json:
        await self._tokens.check(caller)
        wanted = self._completed(msgspec.convert(sent, Kubeconfig).spec)
        targets = await self._targets(caller, wanted)
        _check_context(wanted.current_context, targets)
        draft = stored(wanted, user=caller.user, uid=str(uuid4()), marks=kept_marks(sent))
        if dry_run:
            name = f"kubeconfig-{uuid4().hex[:5]}"
            created = self._clock.now().isoformat()
            draft["metadata"] |= {"name": name, "creationTimestamp": created}
            return shown(draft, caller)
        draft["data"] |= status_data(KubeconfigStatus(summary=PENDING))
        made = await self._client.create(CONFIGMAPS, draft)
        try:
            return await self._filled(caller, wanted, targets, made)
        except KubeError:
            # its tokens go with it
            await self._client.delete_if_exists(CONFIGMAPS, made["metadata"]["name"], NAMESPACE)
            raise

    async def _filled(
        self, caller: Caller, wanted: KubeconfigSpec, targets: Sequence[Target], made: Json
    ) -> Json:
        name = made["metadata"]["name"]
        names: list[str] = []
        if self._settings.value("kubeconfig-generate-token") != "false":
            targets, names = await self._with_tokens(caller, targets, wanted.ttl * 1000, name)
        now = self._clock.now().replace(microsecond=0).isoformat().replace("+00:00", "Z")
        done = Condition(
            type="TokenCreated" if names else "Updated",
            status="True",
            last_update_time=now,
            last_transition_time=now,
        )
        status = KubeconfigStatus(conditions=[done], summary=COMPLETE, tokens=names)
        changed = await self._client.patch(CONFIGMAPS, name, {"data": status_data(status)}, NAMESPACE)
        answer = shown(changed, caller)
        answer["status"]["value"] = kubeconfig(
            targets,
            server_url=self._settings.value("server-url") or f"https://{caller.host or 'localhost'}",
            cacerts=self._settings.value("cacerts"),
            current=wanted.current_context,
            notes=[
                "Generated by Outrider",
                f"name: {name}",
                f"createdTimestamp: {made['metadata']['creationTimestamp']}",
                f"ttl: {wanted.ttl}",
            ],
        )
        return answer

    async def _with_tokens(
        self, caller: Caller, targets: Sequence[Target], ttl: int, name: str
    ) -> tuple[list[Target], list[str]]:
        """One token for all clusters, and one of its own for each that is also reached directly."""
        names: list[str] = []
        shared = ""
        filled: list[Target] = []
        for target in targets:
            if target.endpoints or not shared:
                scope = target.cluster if target.endpoints else ""
                made, value = await self._tokens.mint(caller, cluster=scope, ttl=ttl, kubeconfig=name)
                names.append(made)
                shared = shared if target.endpoints else value
            filled.append(msgspec.structs.replace(target, token=value if target.endpoints else shared))
        return filled, names

    # What it leads to

    def _completed(self, wanted: KubeconfigSpec) -> KubeconfigSpec:
        """With its lifetime. Raises BadRequest."""
        clusters = wanted.clusters or []
        include = wanted.include_default_entry is not False
        if len(set(clusters)) != len(clusters):
            raise BadRequest("spec.clusters must be unique")
        if not clusters and not include:
            raise BadRequest("at least one cluster is required when includeDefaultEntry is false")
        if ALL_CLUSTERS in clusters and clusters != [ALL_CLUSTERS]:
            raise BadRequest(f'spec.clusters: "{ALL_CLUSTERS}" stands alone')
        ttl = lifetime(
            wanted.ttl,
            default=self._minutes("kubeconfig-default-token-ttl-minutes"),
            most=self._minutes("kubeconfig-max-token-ttl-minutes"),
        )
        return msgspec.structs.replace(wanted, ttl=ttl, include_default_entry=include)

    def _minutes(self, setting: str) -> int:
        text = self._settings.value(setting)
        return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0

    async def _targets(self, caller: Caller, wanted: KubeconfigSpec) -> list[Target]:
        """Raises Forbidden and BadRequest for clusters that cannot be had."""
        own = [Target(cluster="", name=DEFAULT_ENTRY)] if wanted.include_default_entry else []
        if not wanted.clusters:
            return own
        rules = await self._rules(caller)
        if wanted.clusters == [ALL_CLUSTERS]:
            chosen = [one for one in self._clusters.list() if _may_get(rules, one.metadata.name)]
            chosen.sort(key=lambda one: (one.spec.display_name.casefold(), one.metadata.name))
        else:
            chosen = [await self._cluster(rules, name) for name in wanted.clusters]
        return [*own, *(self._target(one) for one in chosen if not one.is_deleting)]

    async def _rules(self, caller: Caller) -> Rules:
        try:
            return await own_rules(self._client.as_user(caller.identity))
        except ValueError:
            raise Forbidden(f"user {caller.user} cannot be acted for") from None

    async def _cluster(self, rules: Rules, name: str) -> Cluster:
        if not _may_get(rules, name):
            raise Forbidden(f"not allowed to access cluster {name}")
        found = self._clusters.get(ObjectKey("", name))
        if found is None:
            try:
                found = await self._client.get_or_none(CLUSTERS, name)
            except ValueError:
                found = None
        if found is None:
            raise BadRequest(f"cluster {name} not found")
        return found

    def _target(self, cluster: Cluster) -> Target:
        name = cluster.metadata.name
        ways = endpoints(cluster, self._nodes.list(name))
        return Target(cluster=name, name=cluster.spec.display_name, endpoints=tuple(ways))

    # Changing

    async def _update(self, caller: Caller, old: Json, sent: Json, *, dry_run: bool) -> Json:
        held = await self._backed.backing(caller, old["metadata"]["name"])
        wanted, before = msgspec.convert(sent, Kubeconfig).spec, spec_of(held)
        for field, wire in _WIRE.items():
            given = getattr(wanted, field)
            # what is left out stays
            if (given or given is False) and given != getattr(before, field):
                raise Invalid(f"spec.{wire}: Invalid value: field is immutable")
        marks = kept_marks(sent, held)
        patch = {
            "metadata": {
                "resourceVersion": old["metadata"]["resourceVersion"],
                **replaced_marks(held, marks),
            },
            "data": {"description": wanted.description},
        }
        if dry_run:
            data = held["data"] | patch["data"]
            return shown({"metadata": held["metadata"] | marks, "data": data}, caller)
        return shown(await self._client.patch(CONFIGMAPS, held["metadata"]["name"], patch, NAMESPACE), caller)


_WIRE: Final = {
    field: wire
    for field, wire in zip(
        KubeconfigSpec.__struct_fields__, KubeconfigSpec.__struct_encode_fields__, strict=True
    )
    if field in _SETTLED
}


def lifetime(wanted: int, *, default: int, most: int) -> int:
    """Seconds that the tokens of a kubeconfig live, 0 for ever; settings in minutes. Raises BadRequest."""
    if wanted < 0:
        raise BadRequest("spec.ttl can't be negative (infinite)")
    if most >= 1 and wanted > most * 60:
        raise BadRequest(f"spec.ttl {wanted} exceeds max ttl {most * 60}")
    if wanted:
        return wanted
    usual = default or most
    return min(usual, most) * 60 if most >= 1 else usual * 60


def _may_get(rules: Rules, name: str) -> bool:
    return rules.allows("get", CLUSTERS.group, CLUSTERS.plural, name)


def _check_context(wanted: str, targets: Sequence[Target]) -> None:
    known = {target.cluster for target in targets if target.cluster} | set(context_names(targets))
    if wanted and wanted not in known:
        raise BadRequest(f"invalid currentContext {wanted}")
