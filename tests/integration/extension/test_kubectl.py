"""kubectl, new and old, with the aggregated API; and what it says of other things while nobody serves it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from outrider.kube.builtin import APISERVICES, NAMESPACES
from tests.integration.extension.conftest import Person, Plane
from tests.support.kubectl import Kubectl
from tests.support.not_run import not_run
from tests.support.proc import until
from tools.setup.places import checkout

TOKEN = """
apiVersion: ext.cattle.io/v1
kind: Token
metadata:
  generateName: token-
spec:
  description: made by kubectl
  ttl: 3600000
"""


def program(age: str) -> Path:
    found = Path(sys.executable).with_name("kubectl") if age == "new" else checkout().old_kubectl
    if not found.exists():
        not_run(f"there is no {age} kubectl; run `make setup`")
    return found


@pytest.fixture(params=["new", "old"])
async def run(request: pytest.FixtureRequest, plane: Plane, jane: Person, tmp_path: Path) -> Any:
    """Runs kubectl in a thread: the server is in this process. The old one knows no extras of impersonation."""
    admin = request.param == "old"
    kubectl = plane.kubectl(jane, tmp_path, program(request.param))
    if admin:
        kubectl = Kubectl(kubectl.program, plane.api_server.kubeconfig(tmp_path / "admin.yaml"), tmp_path)

    async def call(*arguments: str, stdin: str = "") -> str:
        return await asyncio.to_thread(lambda: kubectl(*arguments, stdin=stdin))

    return call


async def test_discovery_explain_and_lists(run: Any, plane: Plane, jane: Person) -> None:
    listed = await run("api-resources", "--api-group=ext.cattle.io")
    for plural in ("tokens", "kubeconfigs", "useractivities", "selfusers", "passwordchangerequests"):
        assert plural in listed
    await plane.described()
    explained = await run("explain", "tokens.spec.ttl", "--api-version=ext.cattle.io/v1")
    assert "Lifetime in milliseconds" in explained
    made = await jane.create("tokens", {"description": "a long story", "ttl": 3_600_000})
    name = made["metadata"]["name"]
    lines = (await run("get", "tokens.ext.cattle.io", name)).splitlines()
    assert lines[0].split()[:3] == ["NAME", "USER", "KIND"]
    assert lines[1].split()[0] == name
    assert "3600000" in lines[1]
    assert "a long story" in await run("get", "tokens.ext.cattle.io", name, "-o", "wide")
    shown = json.loads(await run("get", "tokens.ext.cattle.io", name, "-o", "json"))
    assert shown["spec"]["description"] == "a long story"
    assert name in await run("describe", "tokens.ext.cattle.io", name)
    await run("delete", "tokens.ext.cattle.io", name)
    assert name not in await run("get", "tokens.ext.cattle.io")


async def test_create_apply_patch_and_wait(plane: Plane, jane: Person, tmp_path: Path) -> None:
    kubectl = plane.kubectl(jane, tmp_path, program("new"))

    async def run(*arguments: str, stdin: str = "") -> str:
        return await asyncio.to_thread(lambda: kubectl(*arguments, stdin=stdin))

    await plane.described()
    created = json.loads(await run("create", "-f", "-", "-o", "json", stdin=TOKEN))
    name = created["metadata"]["name"]
    assert created["status"]["bearerToken"].startswith(f"ext/{name}:")
    unknown = await asyncio.to_thread(
        lambda: kubectl.attempt("create", "-f", "-", stdin=f"{TOKEN}  colour: red\n")
    )
    assert 'unknown field "spec.colour"' in unknown.stderr
    patch = json.dumps({"spec": {"description": "patched"}})
    assert "patched" in await run("patch", "tokens.ext.cattle.io", name, "--type=merge", "-p", patch)
    changed = TOKEN.replace("generateName: token-", f"name: {name}").replace("made by", "applied by")
    await run("apply", "--server-side", "-f", "-", stdin=changed)
    await run("apply", "-f", "-", stdin=changed.replace("applied", "kept"))
    shown = json.loads(await run("get", "tokens.ext.cattle.io", name, "-o", "json"))
    assert shown["spec"]["description"] == "kept by kubectl"
    await run("label", "tokens.ext.cattle.io", name, "team=a")
    assert name in await run("get", "tokens.ext.cattle.io", "-l", "team=a", "-o", "name")
    with kubectl.background("get", "tokens.ext.cattle.io", "--watch") as watching:
        await asyncio.to_thread(watching.line, name)
        await run("annotate", "tokens.ext.cattle.io", name, "note=x")
        await asyncio.to_thread(watching.line, name)
    await run("delete", "tokens.ext.cattle.io", "--all", "--wait=true", "--timeout=20s")
    assert "No resources found" in (
        await asyncio.to_thread(lambda: kubectl.attempt("get", "tokens.ext.cattle.io").stderr)
    )


async def test_a_kubeconfig_and_oneself(plane: Plane, jane: Person, tmp_path: Path) -> None:
    kubectl = plane.kubectl(jane, tmp_path, program("new"))

    async def create(kind: str, spec: dict[str, Any]) -> Any:
        body = {"apiVersion": "ext.cattle.io/v1", "kind": kind, "metadata": {}, "spec": spec}
        stdin = json.dumps({key: value for key, value in body.items() if value or key == "metadata"})
        return json.loads(
            await asyncio.to_thread(lambda: kubectl("create", "-f", "-", "-o", "json", stdin=stdin))
        )

    assert (await create("SelfUser", {}))["status"]["userID"] == jane.name
    made = await create("Kubeconfig", {"ttl": 600})
    path = tmp_path / "made.yaml"
    path.write_text(made["status"]["value"])
    other = kubectl.at(path)
    assert await asyncio.to_thread(lambda: other("config", "current-context")) == "rancher\n"


async def test_others_are_not_held_up_while_nobody_serves(plane: Plane, jane: Person, tmp_path: Path) -> None:
    """What a crash leaves: the registration without a server. A clean stop takes it away."""
    kubectl = plane.kubectl(jane, tmp_path, program("new"))
    admin = Kubectl(kubectl.program, plane.api_server.kubeconfig(tmp_path / "admin.yaml"), tmp_path)
    plane.door.close()

    async def unavailable() -> bool:
        held = await plane.client.get(APISERVICES, "v1.ext.cattle.io")
        conditions = held["status"]["conditions"]
        return any(one["type"] == "Available" and one["status"] == "False" for one in conditions)

    await until(unavailable, 60)
    assert "kube-system" in await asyncio.to_thread(lambda: admin("get", "namespaces"))
    refused = await asyncio.to_thread(lambda: admin.attempt("get", "tokens.ext.cattle.io"))
    assert refused.returncode != 0
    name = "test-while-nobody-serves"
    await plane.client.create(NAMESPACES, {"metadata": {"name": name}})
    await plane.client.delete(NAMESPACES, name)

    async def reported() -> bool:
        held = await plane.client.get(NAMESPACES, name)
        conditions = (held.get("status") or {}).get("conditions") or []
        return any(one["reason"] == "DiscoveryFailed" for one in conditions)

    await until(reported, 60)
    await plane.aggregation.leave()

    async def gone() -> bool:
        return await plane.client.get_or_none(NAMESPACES, name) is None

    await until(gone, 90)
