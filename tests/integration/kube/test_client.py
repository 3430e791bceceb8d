"""The client against a real API server."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from outrider.kube.builtin import CONFIGMAPS, DEPLOYMENTS, NAMESPACES, SERVICEACCOUNTS
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    TransportError,
    Unauthorized,
)
from outrider.kube.identity import Identity
from outrider.kube.kubeconfig import ClusterAccess
from outrider.kube.transport import HttpTransport, Request


def configmap(name: str, namespace: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "data": data}


async def test_an_object_is_created_changed_and_deleted(admin: Client, namespace: str) -> None:
    made = await admin.create(CONFIGMAPS, configmap("a", namespace, x="1"))
    with pytest.raises(AlreadyExists) as taken:
        await admin.create(CONFIGMAPS, configmap("a", namespace))
    assert taken.value.details["name"] == "a"
    merged = await admin.patch(CONFIGMAPS, "a", {"data": {"x": None, "y": "2"}}, namespace)
    assert merged["data"] == {"y": "2"}
    patched = await admin.patch(
        CONFIGMAPS, "a", [{"op": "replace", "path": "/data/y", "value": "3"}], namespace
    )
    assert (await admin.get(CONFIGMAPS, "a", namespace))["data"] == patched["data"] == {"y": "3"}
    assert CONFIGMAPS.uid(patched) == CONFIGMAPS.uid(made)
    await admin.delete(CONFIGMAPS, "a", namespace)
    with pytest.raises(NotFound):
        await admin.get(CONFIGMAPS, "a", namespace)
    assert not await admin.delete_if_exists(CONFIGMAPS, "a", namespace)


async def test_a_generated_name_comes_back(admin: Client, namespace: str) -> None:
    made = await admin.create(CONFIGMAPS, {"metadata": {"generateName": "g-", "namespace": namespace}})
    assert CONFIGMAPS.key(made).name.startswith("g-")


async def test_server_side_apply_owns_what_it_sent(
    admin: Client, api_server: EmbeddedCluster, namespace: str
) -> None:
    transport = HttpTransport(api_server.access)
    other = Client(transport, field_manager="someone-else")
    await admin.apply(CONFIGMAPS, configmap("a", namespace, ours="1", gone="1"))
    # A field that is no longer sent goes; those of others stay.
    await other.apply(CONFIGMAPS, configmap("a", namespace, theirs="1"))
    assert (await admin.apply(CONFIGMAPS, configmap("a", namespace, ours="2")))["data"] == {
        "ours": "2",
        "theirs": "1",
    }
    with pytest.raises(Conflict) as conflict:
        await other.apply(CONFIGMAPS, configmap("a", namespace, ours="3", theirs="1"), force=False)
    assert "outrider" in conflict.value.message
    assert conflict.value.details["causes"][0]["field"] == ".data.ours"
    assert (await other.apply(CONFIGMAPS, configmap("a", namespace, ours="3", theirs="1")))["data"][
        "ours"
    ] == "3"
    await transport.close()


async def test_any_text_survives_an_apply(admin: Client, namespace: str) -> None:
    hostile = {
        "yaml": 'a: [b, *c]\n--- # "d"\n...\n\t&x !!python/object {{ }}',
        "control": "".join(map(chr, range(1, 32))) + "\x7f\x80\x85\x9f\xa0",
        "unicode": "\u2028\u2029\ufeff\ufffd\ufffe\uffff é 日本 😀 \U0010ffff",
        "like-other-types": "yes",
        "number": "0777",
        "long": "x y " * 5000,
        "empty": "",
    }
    stored = await admin.apply(CONFIGMAPS, configmap("a", namespace, **hostile))
    assert stored["data"] == hostile


async def test_a_subresource_is_written_alone(admin: Client, namespace: str) -> None:
    labels = {"app": "x"}
    deployment = {
        "metadata": {"name": "d", "namespace": namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
    }
    await admin.apply(DEPLOYMENTS, deployment)
    status = {"metadata": {"name": "d", "namespace": namespace}, "status": {"observedGeneration": 41}}
    stored = await admin.apply(DEPLOYMENTS, status, subresource="status")
    assert (stored["status"]["observedGeneration"], stored["spec"]["replicas"]) == (41, 0)
    stored = await admin.patch(
        DEPLOYMENTS, "d", {"status": {"observedGeneration": 42}}, namespace, subresource="status"
    )
    assert stored["status"]["observedGeneration"] == 42


async def test_a_merge_patch_with_a_version_is_an_optimistic_lock(admin: Client, namespace: str) -> None:
    made = await admin.create(CONFIGMAPS, configmap("a", namespace, x="1"))
    patch = {"metadata": {"resourceVersion": CONFIGMAPS.resource_version(made)}, "data": {"x": "2"}}
    await admin.patch(CONFIGMAPS, "a", patch, namespace)
    with pytest.raises(Conflict):
        await admin.patch(CONFIGMAPS, "a", patch, namespace)


async def test_deletion_obeys_its_preconditions(admin: Client, namespace: str) -> None:
    made = await admin.create(CONFIGMAPS, configmap("a", namespace))
    with pytest.raises(Conflict):
        await admin.delete(CONFIGMAPS, "a", namespace, uid="00000000-0000-0000-0000-000000000000")
    with pytest.raises(Conflict):
        await admin.delete(CONFIGMAPS, "a", namespace, resource_version="1")
    version = CONFIGMAPS.resource_version(made)
    await admin.delete(CONFIGMAPS, "a", namespace, uid=CONFIGMAPS.uid(made), resource_version=version)


async def test_errors_say_what_the_server_said(admin: Client, namespace: str) -> None:
    with pytest.raises(Invalid, match=r"metadata\.name") as invalid:
        await admin.create(CONFIGMAPS, configmap("Not_A_Name", namespace))
    assert invalid.value.details["causes"]
    with pytest.raises(BadRequest):
        await admin.create(CONFIGMAPS, {"metadata": {"name": "a", "namespace": namespace}, "data": {"x": 1}})
    with pytest.raises(NotFound):
        await admin.get_json("/apis/absent.example.io/v1")


# Lists and watches


@pytest.fixture
async def fifty(admin: Client, namespace: str) -> str:
    await asyncio.gather(
        *(
            admin.create(
                CONFIGMAPS, {"metadata": {"name": f"c{n:02}", "namespace": namespace, "labels": label}}
            )
            for n in range(50)
            for label in [
                {"n": str(n), "parity": "odd" if n % 2 else "even"} | ({"ten": ""} if n % 10 == 0 else {})
            ]
        )
    )
    return namespace


async def test_pages_make_up_one_consistent_list(admin: Client, fifty: str) -> None:
    sizes: list[int] = []
    names: list[str] = []
    versions: set[str] = set()
    async with aclosing(admin.pages(CONFIGMAPS, fifty, limit=7)) as pages:
        async for page in pages:
            if not sizes:
                # What happens between the pages does not show in them.
                await admin.delete(CONFIGMAPS, "c49", fifty)
                await admin.create(CONFIGMAPS, configmap("c99", fifty))
            sizes.append(len(page.items))
            names += [CONFIGMAPS.key(item).name for item in page.items]
            versions.add(page.resource_version)
    assert sizes == [7] * 7 + [1]
    assert names == [f"c{n:02}" for n in range(50)]
    assert len(versions) == 1
    whole = await admin.list(CONFIGMAPS, fifty, limit=20)
    assert len(whole.items) == 50
    assert whole.items[-1]["metadata"]["name"] == "c99"


async def test_a_watch_goes_on_where_the_list_ended(admin: Client, fifty: str) -> None:
    start = await admin.list(CONFIGMAPS, fifty, labels="parity=even")
    assert len(start.items) == 25
    await admin.patch(CONFIGMAPS, "c02", {"data": {"x": "1"}}, fifty)
    await admin.patch(CONFIGMAPS, "c03", {"data": {"x": "1"}}, fifty)
    await admin.patch(CONFIGMAPS, "c04", {"metadata": {"labels": {"parity": "odd"}}}, fifty)
    await admin.delete(CONFIGMAPS, "c06", fifty)
    watch = admin.watch(
        CONFIGMAPS, fifty, labels="parity=even", resource_version=start.resource_version, timeout=2
    )
    async with aclosing(watch) as events:
        seen = [(event.type, event.key.name) async for event in events]
    assert [found for found in seen if found[0] != "BOOKMARK"] == [
        ("MODIFIED", "c02"),
        ("DELETED", "c04"),
        ("DELETED", "c06"),
    ]


async def test_leaving_a_watch_leaves_nothing_behind(admin: Client, namespace: str) -> None:
    start = await admin.list(CONFIGMAPS, namespace)
    watch = admin.watch(CONFIGMAPS, namespace, resource_version=start.resource_version, timeout=60)
    first = asyncio.ensure_future(anext(watch))
    await admin.create(CONFIGMAPS, configmap("a", namespace))
    assert (await first).key.name == "a"
    await watch.aclose()


# Acting as somebody


async def test_the_server_sees_the_identity_exactly(admin: Client) -> None:
    identity = Identity(
        "Zoë <z@x>, ü",
        ("dev", "Gruppe Köln, 2. Ebene", "a%2fb"),
        {
            "principalid": ("local://u-1", "oidc://ü"),
            "example.com/Team Blue": ("x",),
            "50%": ("a=b",),
            "é": ("1",),
        },
    )
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    seen = (await admin.as_user(identity).post(path, review))["status"]["userInfo"]
    assert seen["username"] == identity.user
    assert seen["groups"] == [*identity.groups, "system:authenticated"]
    assert seen["extra"] == {key.lower(): list(values) for key, values in identity.extra.items()}


async def test_a_user_may_do_only_what_the_user_may(admin: Client, namespace: str) -> None:
    nobody = admin.as_user(Identity("nobody", ("nothing",)))
    with pytest.raises(Forbidden, match="nobody"):
        await nobody.list(CONFIGMAPS, namespace)
    with pytest.raises(Forbidden):
        await anext(nobody.watch(CONFIGMAPS, namespace, resource_version="0", timeout=5))
    response = await nobody.raw(Request(method="GET", path=CONFIGMAPS.path(namespace=namespace)))
    assert response.status == 403


async def test_an_account_token_and_reviews(
    admin: Client, api_server: EmbeddedCluster, namespace: str
) -> None:
    await admin.create(SERVICEACCOUNTS, {"metadata": {"name": "robot", "namespace": namespace}})
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 600},
    }
    answer = await admin.create_subresource(SERVICEACCOUNTS, "robot", namespace, "token", request)
    access = ClusterAccess(
        server=api_server.access.server, ca_pem=api_server.access.ca_pem, token=answer["status"]["token"]
    )
    transport = HttpTransport(access)
    with pytest.raises(Forbidden, match=f"system:serviceaccount:{namespace}:robot"):
        await Client(transport).list(NAMESPACES)
    await transport.close()
    review = await admin.post(
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": "nobody", "resourceAttributes": {"verb": "list", "resource": "secrets"}},
        },
    )
    assert review["status"]["allowed"] is False


# Who the server is


async def refusal(access: ClusterAccess) -> BaseException:
    transport = HttpTransport(access)
    try:
        with pytest.raises((TransportError, Unauthorized)) as caught:
            await Client(transport).get(NAMESPACES, "default")
    finally:
        await transport.close()
    return caught.value


async def test_a_server_that_is_not_the_one_is_refused(
    api_server: EmbeddedCluster, second_api_server: EmbeddedCluster
) -> None:
    access = api_server.access
    stranger = await refusal(replace(access, ca_pem=second_api_server.access.ca_pem))
    assert "is not trusted" in str(stranger)
    assert "is not trusted" in str(await refusal(replace(access, tls_server_name="other.example.com")))
    assert "is not trusted" in str(await refusal(replace(access, ca_pem=b"")))


async def test_an_authority_may_come_in_a_bundle_with_comments(
    api_server: EmbeddedCluster, second_api_server: EmbeddedCluster
) -> None:
    access = api_server.access
    bundle = "# Autorité de Zoë\n".encode() + second_api_server.access.ca_pem + b"\n\xff\n" + access.ca_pem
    transport = HttpTransport(replace(access, ca_pem=bundle))
    assert await Client(transport).get(NAMESPACES, "default")
    await transport.close()


async def test_a_client_that_is_not_known_is_refused(
    api_server: EmbeddedCluster, second_api_server: EmbeddedCluster
) -> None:
    wrong = second_api_server.access
    foreign = replace(
        api_server.access, client_cert_pem=wrong.client_cert_pem, client_key_pem=wrong.client_key_pem
    )
    assert isinstance(await refusal(foreign), Unauthorized)
    bare = ClusterAccess(server=api_server.access.server, ca_pem=api_server.access.ca_pem, token="wrong")
    assert isinstance(await refusal(bare), Unauthorized)


async def test_many_requests_share_few_connections(admin: Client, namespace: str) -> None:
    await asyncio.gather(*(admin.create(CONFIGMAPS, configmap(f"m{n}", namespace)) for n in range(200)))
    assert len((await admin.list(CONFIGMAPS, namespace, limit=50)).items) == 200
