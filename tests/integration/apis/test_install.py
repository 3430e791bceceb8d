"""Installing CRDs: new, unchanged, older, on their way out, and refused."""

from __future__ import annotations

import asyncio
from typing import Annotated, ClassVar
from uuid import uuid4

import msgspec
import pytest

from outrider.apis.crd import AGE, Column, Resource, custom_resource_definition
from outrider.apis.install import InstallError, install
from outrider.apis.kinds import KINDS
from outrider.apis.schema import prop
from outrider.kube.builtin import CLUSTERROLEBINDINGS, CLUSTERROLES, CRDS
from outrider.kube.client import Client
from outrider.kube.identity import Identity
from outrider.kube.kind import Kind
from outrider.kube.meta import Object
from outrider.kube.transport import Request


class First(Object, kw_only=True):
    """A thing."""

    resource: ClassVar[Resource] = Resource(columns=(AGE,))
    size: Annotated[int, prop("How big.")] = 0


class Second(Object, kw_only=True):
    """A thing that learned more."""

    resource: ClassVar[Resource] = Resource(columns=(Column("Colour", ".colour"), AGE), status=True)
    colour: Annotated[str, prop("Which colour.", required=True)] = ""
    status: Annotated[dict[str, str], prop("What is known.")] = msgspec.field(default_factory=dict)


@pytest.fixture
def group() -> str:
    """An API group of the test's own."""
    return f"g{uuid4().hex[:8]}.example.com"


def thing(
    group: str, type_: type[Object], *, plural: str = "things", kind: str = "Thing", namespaced: bool = True
) -> Kind[Object]:
    return Kind(group=group, version="v1", plural=plural, kind=kind, namespaced=namespaced, type=type_)


async def test_objects_can_be_made_at_once(admin: Client, namespace: str, group: str) -> None:
    kind = thing(group, First)
    await install(admin, policies=[], kinds=[kind])
    metadata = {"name": "one", "namespace": namespace}
    await admin.create(kind, {"metadata": metadata, "size": 3})
    assert (await admin.get(kind, "one", namespace)).size == 3  # type: ignore[attr-defined]
    await admin.delete(CRDS, f"things.{group}")


@pytest.mark.usefixtures("crds")
async def test_an_unchanged_crd_is_not_written(admin: Client) -> None:
    names = [custom_resource_definition(kind)["metadata"]["name"] for kind in KINDS]
    before = [await admin.get(CRDS, name) for name in names]
    await install(admin)
    after = [await admin.get(CRDS, name) for name in names]
    assert [one["metadata"]["resourceVersion"] for one in after] == [
        one["metadata"]["resourceVersion"] for one in before
    ]


@pytest.mark.usefixtures("crds")
@pytest.mark.parametrize("kind", KINDS, ids=repr)
async def test_the_server_keeps_what_was_declared(kind: Kind[object], admin: Client) -> None:
    definition = custom_resource_definition(kind)
    stored = await admin.get(CRDS, definition["metadata"]["name"])
    spec = stored["spec"]
    # What the API server adds by itself.
    assert spec.pop("conversion") == {"strategy": "None"}
    assert spec == definition["spec"]
    types = {one["type"]: one["status"] for one in stored["status"]["conditions"]}
    assert types.get("NonStructuralSchema", "False") == "False"
    assert types["Established"] == "True"


async def test_an_older_crd_is_upgraded_whoever_made_it(admin: Client, namespace: str, group: str) -> None:
    old, new = thing(group, First), thing(group, Second)
    definition = custom_resource_definition(old)
    definition["spec"]["names"]["shortNames"] = ["thg"]
    await admin.create(CRDS, definition)
    await install(admin, policies=[], kinds=[new])
    stored = await admin.get(CRDS, f"things.{group}")
    assert stored["spec"]["versions"] == custom_resource_definition(new)["spec"]["versions"]
    metadata = {"name": "one", "namespace": namespace}
    await admin.create(new, {"metadata": metadata, "colour": "red", "size": 5})
    stored_body = await admin.get_json(new.path("one", namespace))
    assert stored_body["size"] == 5
    await admin.delete(CRDS, f"things.{group}")


async def test_a_crd_on_its_way_out_is_awaited_and_made_again(admin: Client, group: str) -> None:
    kind, name = thing(group, First), f"things.{group}"
    await install(admin, policies=[], kinds=[kind])
    await admin.patch(CRDS, name, {"metadata": {"finalizers": ["example.com/hold"]}})
    uid = (await admin.get(CRDS, name))["metadata"]["uid"]
    await admin.delete(CRDS, name)
    installing = asyncio.create_task(install(admin, policies=[], kinds=[kind]))
    await asyncio.sleep(0.3)
    assert not installing.done()
    await admin.patch(CRDS, name, {"metadata": {"finalizers": None}})
    await installing
    assert (await admin.get(CRDS, name))["metadata"]["uid"] != uid
    await admin.delete(CRDS, name)


async def test_taken_names_are_named(admin: Client, group: str) -> None:
    await install(admin, policies=[], kinds=[thing(group, First)])
    other = thing(group, First, plural="other")
    with pytest.raises(InstallError, match=f"other.{group}.*Thing.*remove the CRD"):
        await install(admin, policies=[], kinds=[other])
    for plural in ("things", "other"):
        await admin.delete(CRDS, f"{plural}.{group}")


async def test_a_crd_of_another_scope_is_named(admin: Client, group: str) -> None:
    await install(admin, policies=[], kinds=[thing(group, First, namespaced=False)])
    with pytest.raises(InstallError, match=f"cannot install CRD things.{group}.*scope.*another product"):
        await install(admin, policies=[], kinds=[thing(group, First)])
    await admin.delete(CRDS, f"things.{group}")


async def test_the_wait_is_bounded(admin: Client, group: str) -> None:
    kind = thing(group, First)
    with pytest.raises(InstallError, match=f"did not begin to serve things.{group} within 0.001 s"):
        await install(admin, policies=[], kinds=[kind], timeout=0.001)
    await admin.delete_if_exists(CRDS, f"things.{group}")


async def test_two_servers_may_install_at_once(admin: Client, group: str) -> None:
    kinds = [thing(group, First), thing(group, Second, plural="others", kind="Other")]
    await asyncio.gather(*(install(admin, kinds=kinds, policies=[]) for _ in range(3)))
    for kind in kinds:
        answer = await admin.raw(Request(method="GET", path=kind.path(), headers=[], body=b""))
        assert answer.status == 200
        await admin.delete(CRDS, f"{kind.plural}.{group}")


async def test_missing_rights_are_named(admin: Client, group: str) -> None:
    name = f"installer-{group}"
    rule = {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": ["*"]}
    subject = {"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"}
    role = {"kind": "ClusterRole", "name": name, "apiGroup": "rbac.authorization.k8s.io"}
    await admin.create(CLUSTERROLES, {"metadata": {"name": name}, "rules": [rule]})
    await admin.create(
        CLUSTERROLEBINDINGS, {"metadata": {"name": name}, "subjects": [subject], "roleRef": role}
    )
    installer = admin.as_user(Identity(user=name, groups=(), extra={}))
    with pytest.raises(InstallError, match=f"cannot list things.{group}: .* 403; the role of this server"):
        await _eventually(installer, thing(group, First))
    await admin.delete(CRDS, f"things.{group}")
    await admin.delete(CLUSTERROLEBINDINGS, name)
    await admin.delete(CLUSTERROLES, name)


async def _eventually(installer: Client, kind: Kind[Object]) -> None:
    """Install once the authorizer has seen the new role, which takes it a moment."""
    for _ in range(100):
        try:
            await install(installer, policies=[], kinds=[kind])
        except InstallError as error:
            if "cannot install CRD" not in str(error):
                raise
        await asyncio.sleep(0.05)
