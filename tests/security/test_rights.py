"""What one account may do ends where its rights end; whom an agent believes."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from outrider.agent.errors import TrustError
from outrider.agent.trust import Trust, checksum
from outrider.kube import kubeconfig
from tests.e2e.conftest import until
from tests.support.door import Door
from tests.support.instance import Instance
from tests.support.kubectl import Kubectl
from tests.support.people import Person, let_see
from tests.support.raw_client import upgrade

ORIGIN = "Origin: https://outrider.test"


def test_cve_2022_21953_nobody_else_opens_a_shell_in_the_management_cluster(
    alice: Person, administrator: Door
) -> None:
    path = "/k8s/clusters/local/api/v1/namespaces/cattle-system/pods/nobody/exec?command=sh&stdin=true"
    for protocol in ("websocket", "SPDY/3.1"):
        code, answer, stream = upgrade(alice.door, path, ORIGIN, protocol=protocol)
        stream.close()
        assert code == 404, answer
        assert b"No cluster available" in answer
        code, answer, stream = upgrade(administrator, path, ORIGIN, protocol=protocol)
        stream.close()
        assert code == 404, answer
        assert b"nobody" in answer, "the administrator reaches the API server, which knows no such pod"


def test_cve_2021_4200_an_account_without_rights_writes_nothing_of_ours(
    person: Callable[[], Person], management: Kubectl, administrator: Door
) -> None:
    """Even one that may see the management cluster: its RBAC decides, namespace by namespace."""
    one = person()
    let_see(management, one.name, "local")
    root = "/k8s/clusters/local"
    until(lambda: one.door.get(f"{root}/version").status == 200, 10)
    objects: list[tuple[str, dict[str, Any]]] = [
        ("api/v1/namespaces/{}/secrets", {"metadata": {"name": "x"}}),
        ("apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles", {"metadata": {"name": "x"}, "rules": []}),
        ("api/v1/namespaces/{}/configmaps", {"metadata": {"name": "x"}}),
    ]
    for namespace in ("cattle-global-data", "cattle-system", "cattle-local-user-passwords", "kube-system"):
        for path, body in objects:
            for method, name in (("GET", ""), ("POST", ""), ("PATCH", "/x"), ("DELETE", "/x")):
                answer = one.door.request(
                    method,
                    f"{root}/{path.format(namespace)}{name}",
                    body,
                    {
                        "Content-Type": "application/merge-patch+json"
                        if method == "PATCH"
                        else "application/json"
                    },
                )
                assert (answer.status, answer.json()["reason"]) == (403, "Forbidden"), (
                    namespace,
                    path,
                    method,
                )
                assert one.name in answer.json()["message"]
    fine = administrator.post(f"{root}/api/v1/namespaces/cattle-system/configmaps?dryRun=All", objects[2][1])
    assert fine.status == 201


def test_nobody_reads_or_ends_tokens_of_others(
    alice: Person, person: Callable[[], Person], administrator: Door
) -> None:
    other = person()
    token = other.door.token.partition(":")[0]
    assert alice.door.get(f"/v3/tokens/{token}").status == 404
    assert alice.door.request("DELETE", f"/v3/tokens/{token}").status == 404
    assert token not in [row["id"] for row in alice.door.get("/v3/tokens").json()["data"]]
    assert other.door.get(f"/v3/tokens/{token}").status == 200
    assert administrator.get("/v3/users?me=true").status == 200


async def test_cve_2024_22030_an_agent_believes_the_pinned_authority_only(
    instance: Instance, tmp_path: Path
) -> None:
    """In strict mode another checksum ends it before the token is read; the right one lets it go on."""
    url, pem = instance.ready["url"], Path(instance.ready["ca_file"]).read_text()
    context = await Trust(url, expected=checksum(pem), strict=True).establish()
    assert context.check_hostname
    assert len(context.get_ca_certs()) == 1
    with pytest.raises(TrustError, match="Either the CA was replaced"):
        await Trust(url, expected=checksum(pem + "x"), strict=True).establish()


@pytest.mark.parametrize("header", ["Authorization", "Cookie"])
def test_a_redirect_or_an_error_of_ours_names_no_credential(door: Door, header: str) -> None:
    """What was wrong is said, never with what."""
    value = (
        "Bearer token-abcde:verysecretverysecret"
        if header == "Authorization"
        else "R_SESS=verysecretverysecret"
    )
    for path in ("/v3/users", "/k8s/clusters/c-1/api", "/api/v1/pods", "/nowhere"):
        answer = door.request("GET", path, headers={header: value})
        assert answer.status in {401, 404}
        assert b"verysecret" not in answer.body
        assert "verysecret" not in str(answer.headers)
    assert door.get("/ping").status == 200


def bearer(config: str | Path, token: str = "") -> Door:
    """An API server for whoever has nothing but a token: the kubeconfig's, or another one."""
    access = kubeconfig.load(config)
    held = access.token_file.read_text().strip() if access.token_file is not None else access.token
    return Door(access.server, ssl.create_default_context(cadata=access.ca_pem.decode()), token=token or held)


def test_the_gateways_own_account_may_impersonate_and_nothing_else(instance: Instance, alice: Person) -> None:
    """Who steals it cannot write to the management cluster as the gateway."""
    own = bearer(instance.data / "server" / "gateway.kubeconfig")
    for path in (
        "/api/v1/secrets",
        "/api/v1/namespaces/cattle-system/configmaps",
        "/apis/management.cattle.io/v3/users",
        "/apis/management.cattle.io/v3/tokens",
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    ):
        assert own.get(path).status == 403, path
        if path != "/api/v1/secrets":
            assert own.post(path, {"metadata": {"name": "x"}}).status == 403, path
    as_alice = own.request("GET", "/api/v1/secrets", headers={"Impersonate-User": alice.name})
    assert (as_alice.status, alice.name in as_alice.json()["message"]) == (403, True)
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    who = own.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", review).json()["status"]["userInfo"]
    assert "system:masters" not in who["groups"]


def test_an_agents_account_opens_no_door_but_its_own_clusters(
    instance: Instance, door: Door, second: dict[str, Any], first: dict[str, Any]
) -> None:
    token = (instance.data / "clusters" / first["name"] / "serviceaccount" / "token").read_text()
    for path in ("/v3/users", f"/k8s/clusters/{first['id']}/api", "/k8s/clusters/local/api"):
        assert door.with_token(token).get(path).status == 401
    assert bearer(second["direct_kubeconfig"], token).get("/api/v1/namespaces").status == 401
    assert bearer(first["direct_kubeconfig"], token).get("/api/v1/namespaces").status == 200
