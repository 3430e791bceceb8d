"""The guards of roles and bindings: reads what a writer holds, and compares it with what their object would give."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from outrider.apis.admission import DELETE, AdmissionRequest, Denial, Guard, Judge
from outrider.apis.management.cluster_role_template_binding import CLUSTER_ROLE_TEMPLATE_BINDINGS
from outrider.apis.management.global_role import GLOBAL_ROLES
from outrider.apis.management.global_role_binding import GLOBAL_ROLE_BINDINGS
from outrider.apis.management.group import GROUP
from outrider.apis.management.project_role_template_binding import (
    PROJECT_ROLE_BINDINGS,
    PROJECT_ROLE_TEMPLATE_BINDINGS,
)
from outrider.apis.management.role_template import ROLE_TEMPLATES, RoleTemplate
from outrider.apis.spelling import Spelled, plain
from outrider.features.rbac import escalation_bindings as bindings
from outrider.features.rbac import escalation_roles as roles
from outrider.features.rbac.escalation import Objection, Price
from outrider.features.rbac.gains import HERE, Gain
from outrider.features.rbac.holdings import Holdings
from outrider.features.rbac.snapshots import NativeRole
from outrider.features.rbac.tree import Held
from outrider.features.rbac.world import World
from outrider.kube.client import Client
from outrider.kube.identity import Identity
from outrider.kube.kind import Kind
from outrider.kube.rules import NOWHERE, own_rules

S = TypeVar("S", bound=Spelled)
Ruling = Callable[[World, S, S | None], Price]

PATIENCE: Final = 0.5
"""Seconds that a denial waits for local copies to catch up: what it lacks may have been made a moment ago."""
_STEP: Final = 0.025
_NAMED: Final = 5
"""Missing rules that a denial names."""


class RoleGuards:
    """Judges by the latest snapshot. `native` gives the rules of a ClusterRole of the management cluster, if any."""

    def __init__(
        self,
        client: Client,
        world: Callable[[], World],
        native: Callable[[str], Held | None],
        *,
        patience: float = PATIENCE,
    ) -> None:
        self._client = client
        self._world = world
        self._native = native
        self._patience = patience

    def guards(self) -> list[Guard]:
        """One for each kind by which somebody may come to hold more."""
        projects = (PROJECT_ROLE_TEMPLATE_BINDINGS, PROJECT_ROLE_BINDINGS)
        return [
            self._guard("globalroles", GLOBAL_ROLES, roles.of_global_role),
            self._guard("globalrolebindings", GLOBAL_ROLE_BINDINGS, bindings.of_global_binding),
            self._guard("roletemplates", ROLE_TEMPLATES, self._of_template),
            Guard("roletemplate-removals", (ROLE_TEMPLATES,), self._patient(self._removal), (DELETE,)),
            self._guard("clusterbindings", CLUSTER_ROLE_TEMPLATE_BINDINGS, bindings.of_cluster_binding),
            *(self._guard(f"{kind.plural}", kind, bindings.of_project_binding) for kind in projects),
        ]

    def _guard(self, name: str, kind: Kind[Any], ruling: Ruling[Any]) -> Guard:
        async def judge(request: AdmissionRequest) -> Denial | None:
            try:
                new, old = _read(kind, request.object), _read(kind, request.old_object)
                if new is None:
                    return None
                price = ruling(self._world(), new, old)
            except msgspec.ValidationError as error:
                return Denial(f"the object cannot be read: {error}", 422)
            except Objection as objection:
                return Denial(str(objection), objection.code)
            return await self._compare(request.user_info.identity, price)

        return Guard(name, (kind,), self._patient(judge))

    def _of_template(self, world: World, new: RoleTemplate, old: RoleTemplate | None) -> Price:
        return roles.of_template(world, new, old, self._native(new.metadata.name))

    async def _removal(self, request: AdmissionRequest) -> Denial | None:
        try:
            roles.check_removal(self._world(), request.name)
        except Objection as objection:
            return Denial(str(objection), objection.code)
        return None

    def _patient(self, judge: Judge) -> Judge:
        """Judges again while the local copies change, before it denies."""

        async def judging(request: AdmissionRequest) -> Denial | None:
            loop = asyncio.get_running_loop()
            deadline = loop.time() + self._patience
            world = self._world()
            denial = await judge(request)
            while denial is not None and loop.time() < deadline:
                await asyncio.sleep(_STEP)
                if self._world() is not world:
                    world = self._world()
                    denial = await judge(request)
            return denial

        return judging

    async def _compare(self, user: Identity, price: Price) -> Denial | None:
        if not price.gains:
            return None
        try:
            client = self._client.as_user(user)
        except ValueError as error:
            return Denial(f"it cannot be found out what you hold: {error}")
        here = {"": await own_rules(client, NOWHERE)}
        right = price.right
        if here[""].allows(right.verb, GROUP, right.resource, right.name):
            return None
        for gain in price.gains:
            if gain.place.cluster == HERE and gain.place.namespace not in here:
                here[gain.place.namespace] = await own_rules(client, gain.place.namespace)
        missing = list(Holdings(self._world(), user, here).lacks(price.gains))
        return _escalation(missing, price) if missing else None


def rules_of(role: NativeRole | None) -> Held | None:
    """The rules of a ClusterRole, None where there is none."""
    return None if role is None else role.rules or ()


def _read(kind: Kind[S], obj: dict[str, Any] | None) -> S | None:
    return None if obj is None else plain(msgspec.convert(obj, kind.type))


def _escalation(missing: list[Gain], price: Price) -> Denial:
    said = dict.fromkeys(f"{_words(one)} in {one.place}" for one in missing)
    more = f" and {len(said) - _NAMED} more" if len(said) > _NAMED else ""
    return Denial(
        f"errors due to escalation: you do not hold {'; '.join(list(said)[:_NAMED])}{more}. Nobody gives what they do"
        f" not hold: ask somebody who holds all of it, or who may {price.right}"
    )


def _words(gain: Gain) -> str:
    rule = gain.rules[0]
    if rule.non_resource_urls:
        return f"{rule.verbs[0]} {rule.non_resource_urls[0]}"
    group = f".{rule.api_groups[0]}" if rule.api_groups[0] else ""
    name = f" {rule.resource_names[0]}" if rule.resource_names else ""
    return f"{rule.verbs[0]} {rule.resources[0]}{group}{name}"
