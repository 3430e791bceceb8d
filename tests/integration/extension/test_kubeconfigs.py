"""ext.cattle.io kubeconfigs through a real API server: whose clusters are in them, and which tokens."""

from __future__ import annotations

from typing import Any

import pytest

from outrider.apis.ext.group import NAMESPACE
from outrider.apis.management.setting import SETTINGS
from outrider.apis.management.token import KUBECONFIG_LABEL, TOKENS
from outrider.kit import yaml
from outrider.kube.builtin import CONFIGMAPS, untyped
from outrider.kube.errors import BadRequest, Forbidden, Invalid, NotFound
from tests.integration.extension.conftest import HOST, Person, Plane
from tests.support.proc import until

KUBECONFIGS = untyped("ext.cattle.io", "v1", "kubeconfigs", "Kubeconfig", namespaced=False)
CLUSTERS = ("management.cattle.io", "clusters")


def names(made: Any) -> list[str]:
    return [one["name"] for one in yaml.load(made["status"]["value"])["contexts"]]


async def test_the_server_alone(plane: Plane, jane: Person) -> None:
    made = await jane.create("kubeconfigs", {"description": "mine"})
    name = made["metadata"]["name"]
    assert name.startswith("kubeconfig-")
    assert made["status"]["summary"] == "Complete"
    assert made["spec"]["ttl"] == 43200 * 60
    text = made["status"]["value"]
    assert text.splitlines()[1] == f"# name: {name}"
    document = yaml.load(text)
    assert document["current-context"] == "rancher"
    assert document["clusters"][0]["cluster"]["server"] == f"https://{HOST}"
    token = document["users"][0]["user"]["token"]
    assert [token.partition(":")[0]] == made["status"]["tokens"]
    stored = await plane.client.get(TOKENS, made["status"]["tokens"][0])
    assert stored.metadata.labels[KUBECONFIG_LABEL] == name
    assert stored.ttl == 43200 * 60_000
    shown = await jane.client.get(KUBECONFIGS, name)
    assert "value" not in shown["status"]
    assert token.partition(":")[2] not in str(await plane.client.get(CONFIGMAPS, name, NAMESPACE))


async def test_some_clusters_and_all_of_them(plane: Plane, jane: Person) -> None:
    odd = 'a "quoted" náme: #1'
    ids = [await plane.cluster(odd), await plane.cluster("twin"), await plane.cluster("twin")]
    hidden = await plane.cluster("hidden")
    await plane.may(jane.name, ["get"], *CLUSTERS, *ids)
    some = await jane.create(
        "kubeconfigs", {"clusters": ids[1:], "includeDefaultEntry": False, "currentContext": ids[2]}
    )
    assert names(some) == ["twin", f"twin-{ids[2]}"]
    assert yaml.load(some["status"]["value"])["current-context"] == f"twin-{ids[2]}"
    assert len(some["status"]["tokens"]) == 1
    every = await jane.create("kubeconfigs", {"clusters": ["*"]})
    assert names(every)[:2] == ["rancher", odd]
    servers = [one["cluster"]["server"] for one in yaml.load(every["status"]["value"])["clusters"]]
    assert {server.rpartition("/")[2] for server in servers[1:]} == set(ids)
    with pytest.raises(Forbidden, match=f"not allowed to access cluster {hidden}"):
        await jane.create("kubeconfigs", {"clusters": [hidden]})


async def test_what_is_refused(plane: Plane, jane: Person) -> None:
    await plane.may(jane.name, ["get"], *CLUSTERS)
    here = await plane.cluster("here")
    refused = [
        ({"clusters": [here, here]}, "spec.clusters must be unique"),
        ({"includeDefaultEntry": False}, "at least one cluster is required"),
        ({"ttl": -1}, "negative"),
        ({"ttl": 129600 * 60 + 1}, "exceeds max ttl 7776000"),
        ({"clusters": ["c-nowhere"]}, "cluster c-nowhere not found"),
        ({"currentContext": "nowhere"}, "invalid currentContext nowhere"),
        ({"clusters": ["*", here]}, "stands alone"),
    ]
    for spec, why in refused:
        with pytest.raises(BadRequest, match=why):
            await jane.create("kubeconfigs", spec)
    assert (await jane.client.list(KUBECONFIGS)).items == []
    joe = await plane.person(session=False)
    with pytest.raises(Forbidden, match="missing authentication token ID"):
        await joe.create("kubeconfigs", {})


async def test_only_the_description_changes(plane: Plane, jane: Person) -> None:
    joe = await plane.person()
    name = (await jane.create("kubeconfigs", {"ttl": 600}))["metadata"]["name"]
    changed = await jane.client.patch(KUBECONFIGS, name, {"spec": {"description": "new"}})
    assert changed["spec"]["description"] == "new"
    for spec in ({"ttl": 60}, {"clusters": ["local"]}, {"includeDefaultEntry": False}):
        with pytest.raises(Invalid, match="immutable"):
            await jane.client.patch(KUBECONFIGS, name, {"spec": spec})
    with pytest.raises(NotFound):
        await joe.client.get(KUBECONFIGS, name)


async def test_its_tokens_go_with_it(plane: Plane, jane: Person) -> None:
    made = await jane.create("kubeconfigs", {})
    token = made["status"]["tokens"][0]
    assert await plane.client.get_or_none(TOKENS, token) is not None
    await jane.client.delete(KUBECONFIGS, made["metadata"]["name"])

    async def gone() -> bool:
        return await plane.client.get_or_none(TOKENS, token) is None

    await until(gone)


async def test_without_tokens_people_sign_in_by_a_plug_in(plane: Plane, jane: Person) -> None:
    here = await plane.cluster("here")
    await plane.may(jane.name, ["get"], *CLUSTERS)
    setting = {"metadata": {"name": "kubeconfig-generate-token"}, "value": "false"}
    await plane.client.apply(SETTINGS, setting)

    async def known() -> bool:
        return plane.clusters.settings.value("kubeconfig-generate-token") == "false"

    try:
        await until(known)
        made = await jane.create("kubeconfigs", {"clusters": [here]})
        assert "tokens" not in made["status"]
        users = yaml.load(made["status"]["value"])["users"]
        assert users[1]["user"]["exec"]["args"] == ["token", f"--server={HOST}", "--user=here"]
        assert "token" not in users[0]["user"]
    finally:
        await plane.client.delete(SETTINGS, "kubeconfig-generate-token")
