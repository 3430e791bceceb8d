"""Workspaces and drivers in `/v3` (contract: clusters §0.1)."""

from __future__ import annotations

from typing import Any

from outrider.apis.management.driver import KONTAINER_DRIVERS, NODE_DRIVERS
from outrider.apis.management.fleet_workspace import FLEET_WORKSPACES
from outrider.apis.views.view import Access, Action, Field, Invocation, Json, Need, View
from outrider.kube.kind import Kind


def more_views() -> list[View]:
    """The views."""
    return [
        View(
            kind=FLEET_WORKSPACES,
            type="fleetWorkspace",
            plural="fleetWorkspaces",
            methods=frozenset({"GET", "POST", "PUT", "DELETE"}),
        ),
        _driver_view(NODE_DRIVERS, "nodeDriver", "nodeDrivers", "nd-"),
        _driver_view(KONTAINER_DRIVERS, "kontainerDriver", "kontainerDrivers", "kd-"),
    ]


def _driver_view(kind: Kind[Any], name: str, plural: str, prefix: str) -> View:
    async def activate(asked: Invocation) -> None:
        await _switch(kind, asked, active=True)

    async def deactivate(asked: Invocation) -> None:
        await _switch(kind, asked, active=False)

    need = Need(verb="update")
    return View(
        kind=kind,
        type=name,
        plural=plural,
        names={"displayName": "name"},
        fields={
            "active": Field(default=False, absent=False),
            "builtin": Field(access=Access.CREATE, default=False, absent=False),
        },
        generate_name=prefix,
        actions=(
            Action(name="activate", run=activate, need=need, offered=lambda driver: not _is_active(driver)),
            Action(name="deactivate", run=deactivate, need=need, offered=_is_active),
        ),
    )


async def _switch(kind: Kind[Any], asked: Invocation, *, active: bool) -> None:
    name = (asked.object or {})["metadata"]["name"]
    await asked.call.client.patch(kind, name, {"spec": {"active": active}})


def _is_active(driver: Json) -> bool:
    return bool((driver.get("spec") or {}).get("active"))
