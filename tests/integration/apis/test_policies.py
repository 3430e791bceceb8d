"""Every admission policy, kept and broken, as the real API server judges it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from outrider.apis.install import InstallError, install
from outrider.apis.management import CLUSTERS, REGISTRATION_TOKENS
from outrider.apis.management.group import CREATOR_ID, CREATOR_PRINCIPAL_NAME, NO_CREATOR_RBAC
from outrider.apis.policies import POLICIES, VERSION_MANAGEMENT, Policy
from outrider.apis.provisioning import PROVISIONING_CLUSTERS
from outrider.apis.role_policies import ROLE_POLICIES
from outrider.kube.builtin import VALIDATINGADMISSIONPOLICIES, VALIDATINGADMISSIONPOLICYBINDINGS
from outrider.kube.client import Client
from outrider.kube.errors import Invalid

Annotations = dict[str, str | None]

LATER = "it can be removed, but neither changed nor added later"
PRINCIPAL = f"annotation {CREATOR_PRINCIPAL_NAME} needs {CREATOR_ID}"
EXCLUDE = "exclude each other"
VERSIONS = "takes true, false or system-default"
ANN, BOB = {CREATOR_ID: "user-ann"}, {CREATOR_ID: "user-bob"}
NAMED = {CREATOR_PRINCIPAL_NAME: "local://user-ann"}
NOBODY = {NO_CREATOR_RBAC: "true"}


@pytest.fixture
async def enforced(crds: None, admin: Client) -> None:
    """Policies take effect a moment after they were stored."""
    bad = {"metadata": {"name": "c-probe", "annotations": {VERSION_MANAGEMENT: "probe"}}}
    for _ in range(100):
        try:
            await admin.create(CLUSTERS, bad | {"spec": {"displayName": "probe"}})
        except Invalid:
            return
        await admin.delete(CLUSTERS, "c-probe")
        await asyncio.sleep(0.1)
    pytest.fail("the policies are not in force after 10 s")


def cluster(name: str, annotations: Annotations) -> dict[str, Any]:
    return {"metadata": {"name": name, "annotations": annotations}, "spec": {"displayName": "one"}}


@pytest.mark.usefixtures("enforced")
@pytest.mark.parametrize(
    ("annotations", "refused"),
    [
        ({}, ""),
        (ANN, ""),
        (ANN | NAMED, ""),
        (NAMED, PRINCIPAL),
        (NOBODY, ""),
        (ANN | NOBODY, EXCLUDE),
        ({VERSION_MANAGEMENT: "true"}, ""),
        ({VERSION_MANAGEMENT: "false"}, ""),
        ({VERSION_MANAGEMENT: "system-default"}, ""),
        ({VERSION_MANAGEMENT: "yes"}, VERSIONS),
    ],
)
async def test_creation(annotations: Annotations, refused: str, admin: Client, unique: str) -> None:
    if refused:
        with pytest.raises(Invalid, match=refused):
            await admin.create(CLUSTERS, cluster(unique, annotations))
    else:
        await admin.create(CLUSTERS, cluster(unique, annotations))
        await admin.delete(CLUSTERS, unique)


@pytest.mark.usefixtures("enforced")
@pytest.mark.parametrize(
    ("before", "patch", "refused"),
    [
        (ANN, {CREATOR_ID: None}, ""),
        (ANN, {"example.com/note": "x"}, ""),
        (ANN, BOB, LATER),
        ({}, ANN, LATER),
        (ANN, NOBODY, EXCLUDE),
        (ANN | NAMED, {CREATOR_ID: None}, ""),
        (ANN, NAMED, ""),
        ({}, NAMED, PRINCIPAL),
        (ANN, NOBODY | {CREATOR_ID: None}, ""),
        ({VERSION_MANAGEMENT: "true"}, {VERSION_MANAGEMENT: ""}, VERSIONS),
    ],
)
async def test_change(
    before: Annotations, patch: Annotations, refused: str, admin: Client, unique: str
) -> None:
    await admin.create(CLUSTERS, cluster(unique, before))
    change = {"metadata": {"annotations": patch}}
    if refused:
        with pytest.raises(Invalid, match=refused):
            await admin.patch(CLUSTERS, unique, change)
    else:
        await admin.patch(CLUSTERS, unique, change)
    await admin.delete(CLUSTERS, unique)


@pytest.mark.usefixtures("enforced")
async def test_provisioning_clusters_obey_too(admin: Client, namespace: str) -> None:
    body = {"metadata": {"name": "one", "namespace": namespace, "annotations": dict(ANN)}, "spec": {}}
    await admin.create(PROVISIONING_CLUSTERS, body)
    with pytest.raises(Invalid, match=LATER):
        await admin.patch(PROVISIONING_CLUSTERS, "one", {"metadata": {"annotations": BOB}}, namespace)


@pytest.mark.usefixtures("enforced")
async def test_a_registration_token_stays_in_its_clusters_namespace(admin: Client, namespace: str) -> None:
    metadata = {"name": "token-limited", "namespace": namespace}
    with pytest.raises(Invalid, match="must be the namespace of this object"):
        await admin.create(REGISTRATION_TOKENS, {"metadata": metadata, "spec": {"clusterName": "c-other"}})
    spec = {"clusterName": namespace, "ttl": 86400}
    made = await admin.create(REGISTRATION_TOKENS, {"metadata": metadata, "spec": spec})
    assert made.spec.ttl == 86400


@pytest.mark.usefixtures("enforced")
async def test_policies_compile_without_warnings_and_settle(admin: Client) -> None:
    for policy in (*POLICIES, *ROLE_POLICIES):
        await install(admin, kinds=[], policies=[policy])
        stored = await admin.get(VALIDATINGADMISSIONPOLICIES, policy.name)
        await install(admin, kinds=[], policies=[policy])
        again = await admin.get(VALIDATINGADMISSIONPOLICIES, policy.name)
        assert again["metadata"]["resourceVersion"] == stored["metadata"]["resourceVersion"]
        assert (await admin.get(VALIDATINGADMISSIONPOLICYBINDINGS, policy.name))["spec"]["validationActions"]
        assert "expressionWarnings" not in stored.get("status", {}).get("typeChecking", {})


async def test_a_policy_that_is_refused_is_named(admin: Client) -> None:
    broken = Policy(name="Not A Name", kinds=(CLUSTERS,), checks=())
    with pytest.raises(InstallError, match="cannot install admission policy Not A Name"):
        await install(admin, kinds=[], policies=[broken])
