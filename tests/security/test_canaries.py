"""Canary secrets in every place of the contract (auth-and-rbac §5.4) go through the front door at level 3; the log
holds none of them (CVE-2023-22649)."""

import base64
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.support.audit_desk import AuditDesk
from tests.unit.gateway.desk import C1, get, turn

CANARY = "CanaryQx7"
OURS = "bcdfghjklmnpqrstvwxz2456789bcdfghjklmnpqrstvwxz2456789"
"""A secret as this server makes them: it is known by its alphabet, wherever it stands."""
ENCODED = base64.b64encode(CANARY.encode()).decode().rstrip("=")
FORBIDDEN = (CANARY, ENCODED, OURS, CANARY.encode().hex())
K8S = C1 + b"/api/v1/namespaces/x/"
SECRET: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "s", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": CANARY}},
    "data": {"k": ENCODED},
    "stringData": {"k": CANARY},
}
UNTYPED = {"metadata": {"name": "s"}, "data": {"k": ENCODED}}
CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": CANARY}, "binaryData": {"k": ENCODED}}
NAMES = [
    *(
        "password",
        "newPassword",
        "currentPassword",
        "Password",
        "kubeconfig",
    ),
    *(
        "kubeConfig",
        "kubeconfigContent",
        "token",
        "Token",
        "accessToken",
    ),
    *(
        "credentials",
        "applicationSecret",
        "oauthCredential",
        "serviceAccountCredential",
        "spKey",
    ),
    *(
        "spCert",
        "certificate",
        "privateKey",
        "secretsEncryptionConfig",
        "manifestUrl",
    ),
    *(
        "insecureWindowsNodeCommand",
        "insecureNodeCommand",
        "insecureCommand",
        "command",
        "nodeCommand",
    ),
    *(
        "windowsNodeCommand",
        "clientRandom",
        "accessKey",
        "secretKey",
        "clientSecret",
    ),
    *(
        "authEncodedJson",
        "privateKeyContents",
    ),
]
KUBECONFIG = f"apiVersion: v1\nkind: Config\nusers:\n- name: a\n  user:\n    token: {CANARY}\n"
BODIES: list[tuple[bytes, Any]] = [
    (K8S + b"secrets", SECRET),
    (K8S + b"%73ecrets", UNTYPED),
    (K8S + b"secrets/s", UNTYPED),
    (K8S + b"secrets/s", {"anything": {"at": ["all", CANARY]}}),
    (K8S + b"secrets/s", [{"op": "add", "path": "/data/k", "value": ENCODED}]),
    (K8S + b"secrets", {"items": [UNTYPED], "metadata": {"continue": "x"}}),
    (K8S + b"configmaps", CONFIG_MAP),
    (K8S + b"configmaps", {"items": [UNTYPED]}),
    (K8S + b"pods", {"kind": "List", "items": [SECRET, CONFIG_MAP]}),
    (K8S + b"pods", {"kind": "SecretList", "items": [UNTYPED]}),
    (K8S + b"pods", {"type": "ADDED", "object": SECRET}),
    (
        K8S + b"pods",
        {"spec": {"containers": [{"args": ["--token", CANARY, "run"], "command": ["a", CANARY]}]}},
    ),
    (K8S + b"pods", {"spec": {"containers": [{"args": [f"--token={CANARY}"]}]}}),
    (K8S + b"pods", {"spec": {"containers": [{"env": [{"name": "DB_PASSWORD", "value": CANARY}]}]}}),
    (
        K8S + b"pods",
        {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": CANARY}}},
    ),
    (K8S + b"serviceaccounts/a/token", {"kind": "TokenRequest", "status": {"token": CANARY}}),
    (b"/v3/secrets", {"type": "secret", "data": {"k": CANARY}}),
    (b"/v3/project/c:p/namespacedSecrets", {"type": "collection", "data": [{"id": "a", "k": CANARY}]}),
    (b"/v3/cloudCredentials", {"id": "cc", "amazonec2credentialConfig": {"secretKey": CANARY, "x": CANARY}}),
    (b"/v1/secrets", {"type": "collection", "data": [SECRET]}),
    (b"/v3/tokens", {"type": "token", "id": "token-abcde", "token": f"token-abcde:{OURS}"}),
    (
        b"/v3/clusterRegistrationTokens",
        {"token": OURS, "command": f"kubectl apply -f https://h/v3/import/{OURS}.yaml"},
    ),
    (b"/v3/things", {"note": f"use https://h/v3/import/{OURS}_c-1.yaml"}),
    (b"/v1/ext.cattle.io.tokens", {"kind": "Token", "status": {"value": CANARY}}),
    (b"/v1/ext.cattle.io.kubeconfigs", {"kind": "Kubeconfig", "status": {"value": KUBECONFIG}}),
    (b"/v3/clusters/c-1?action=generateKubeconfig", {"config": CANARY}),
    (b"/v1/management.cattle.io.clusters/c-1?action=generateKubeconfig", {"config": KUBECONFIG}),
    (b"/v3/clusters/c-1?action=importYaml", {"yaml": f"kind: Secret\nstringData:\n  k: {CANARY}\n"}),
    (b"/v3-public/localProviders/local?action=login", {"username": "admin", "password": CANARY}),
    (b"/v3-public/localProviders/local?action=login", {"code": f"4/{CANARY}"}),
    (b"/v1-public/login", {"type": "localProvider", "username": OURS, "password": CANARY}),
    (b"/v3/users?action=changepassword", {"currentPassword": CANARY, "newPassword": CANARY}),
    (b"/v3/settings/bootstrap-password", {"id": "bootstrap-password", "value": CANARY}),
    (b"/v3/gitRepos", {"url": f"https://user:{CANARY}@git.example.com/a"}),
    *((b"/v3/things", {"spec": [{name: CANARY}]}) for name in NAMES),
]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[AuditDesk]:
    made = AuditDesk(tmp_path, 3)
    yield made
    made.close()


def backends_answer(desk: AuditDesk, body: bytes, *lines: bytes) -> None:
    head = b"".join(line + b"\r\n" for line in (b"content-type: application/json", *lines))
    for backend in desk.backends:
        for call in backend.calls:
            call.answer(body, lines=head)
        backend.calls.clear()


def assert_clean(desk: AuditDesk, records: int) -> None:
    entries = desk.log()
    assert len(entries) == records
    for secret in FORBIDDEN:
        assert secret.encode() not in desk.text, secret
    assert not any("auditLogError" in entry for entry in entries)


@pytest.mark.parametrize(("path", "body"), BODIES)
@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH"])
async def test_bodies(desk: AuditDesk, path: bytes, body: Any, method: bytes) -> None:
    data = json.dumps(body).encode()
    size = b"Content-Length: %d" % len(data)
    desk.client().feed(get(path, b"Content-Type: application/json", size, method=method) + data)
    backends_answer(desk, data, b"set-cookie: R_SESS=" + CANARY.encode())
    assert_clean(desk, 1)
    (entry,) = desk.log()
    assert {"requestBody", "responseBody"} <= entry.keys()


@pytest.mark.parametrize("level", [1, 2])
async def test_lower_levels_say_no_more(tmp_path: Path, level: int) -> None:
    desk = AuditDesk(tmp_path, level)
    for path, body in BODIES:
        data = json.dumps(body).encode()
        size = b"Content-Length: %d" % len(data)
        desk.client().feed(get(path, b"Content-Type: application/json", size, method=b"POST") + data)
        backends_answer(desk, data, b"set-cookie: R_SESS=" + CANARY.encode())
    assert_clean(desk, len(BODIES))
    assert {"requestBody" in entry for entry in desk.log()} == {level == 2}
    assert not any("responseBody" in entry for entry in desk.log())
    desk.close()


@pytest.mark.parametrize(("path", "body"), BODIES[:12])
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
async def test_compressed_bodies(desk: AuditDesk, path: bytes, body: Any, coding: str) -> None:
    data = json.dumps(body).encode()
    packed = {"gzip": gzip.compress, "deflate": zlib.compress, "br": bytes}[coding](data)
    desk.client().feed(get(path))
    backends_answer(desk, packed, b"content-encoding: " + coding.encode())
    assert_clean(desk, 1)


def broken(data: bytes) -> Iterable[bytes]:
    """Bodies that cannot be parsed: cut, prefixed, in another encoding, too long."""
    yield data[:-1]
    yield b"x" + data
    yield data.decode().encode("utf-16")
    yield data[:-1] + b" " * 70_000 + b"}"
    yield b"k8s\x00" + data
    yield f"kind: Secret\nstringData: {{k: {CANARY}}}\n".encode()


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("path", [K8S + b"secrets", K8S + b"pods", b"/v1-public/login"])
async def test_what_cannot_be_parsed_is_never_shown(desk: AuditDesk, path: bytes, number: int) -> None:
    data = list(broken(json.dumps(SECRET).encode()))[number]
    desk.client().feed(get(path, b"Content-Length: %d" % len(data), method=b"POST") + data)
    backends_answer(desk, data)
    assert_clean(desk, 1)
    (entry,) = desk.log()
    assert {"requestBodyOmitted", "responseBodyOmitted"} <= entry.keys()


async def test_watches(desk: AuditDesk) -> None:
    desk.client().feed(get(C1 + b"/api/v1/pods?watch=true"))
    responder = desk.cluster.last.responder
    responder.on_head(200, -1, b"content-type: application/json\r\n", b"", False)
    for kind in ("ADDED", "MODIFIED", "DELETED"):
        event = json.dumps({"type": kind, "object": SECRET}).encode() + b"\n"
        responder.on_data(event[:50])
        responder.on_data(event[50:])
    responder.on_end(b"")
    assert_clean(desk, 1)
    assert len(desk.log()[0]["responseBody"]) == 3


@pytest.mark.parametrize(
    "target",
    [
        f"/v3/import/{OURS}.yaml",
        f"/v3/import/{CANARY}",
        f"/v3/%69mport/{CANARY}.yaml?a=b",
        f"/v3/things?token={CANARY}&x=y",
        f"/v3/things?access_token={CANARY}",
        f"/v3/things?Password={CANARY}",
        f"/v3/things?CSRF={CANARY}",
        f"/v3/things?X-Amz-Signature={CANARY}&X-Amz-Security-Token={CANARY}&X-Amz-Credential={CANARY}",
        f"/v3/things?%74%6f%6b%65%6e={CANARY}",
        f"/v3/things?next=https%3A%2F%2Fh%2F%3Ftoken%3D{CANARY}",
        f"/v3/tokens/token-abcde:{OURS}",
        f"/api/v1/namespaces/x/pods/y/exec?command=a&command=--token&command={CANARY}",
        f"/api/v1/namespaces/x/pods/y/exec?command=curl&command=Authorization:+Bearer+{CANARY}",
        f"/auth/callback?code={CANARY}&state=a",
        "/v3/import/" + CANARY + "/" + "x" * 5000,
        f"/v3/things?x={'y' * 5000}&token={CANARY}",
    ],
)
async def test_targets(desk: AuditDesk, target: str) -> None:
    desk.client().feed(get(target.encode(), method=b"GET"))
    backends_answer(desk, b"{}")
    assert_clean(desk, 1)


async def test_headers(desk: AuditDesk) -> None:
    value = CANARY.encode()
    names = [
        *(
            b"Cookie",
            b"X-Api-Tunnel-Params",
            b"X-Api-Tunnel-Token",
            b"X-Api-Auth-Header",
            b"X-Amz-Security-Token",
        ),
        *(b"X-Api-Csrf", b"X-Api-Set-Cookie-Header", b"Proxy-Authorization", b"X-Outrider-Claim"),
    ]
    lines = [name + b": " + value for name in names]
    lines += [b"Referer: https://h/v3/import/" + value + b".yaml", b"X-Custom: " + value]
    desk.client().feed(get(C1 + b"/api", *lines, token=b"Bearer token-abcde:" + value))
    desk.client().feed(get(b"/v3/things", *lines, token=b"Basic " + base64.b64encode(b"u:" + value)))
    desk.client().feed(get(b"/v3/things", b"Cookie: R_SESS=token-abcde:" + value, *lines[1:], token=b""))
    backends_answer(desk, b"{}", b"set-cookie: R_SESS=" + value, b"x-api-set-cookie-header: " + value)
    await turn()
    assert_clean(desk, 3)


async def test_shells_and_other_streams(desk: AuditDesk) -> None:
    client = desk.client()
    client.feed(get(K8S + b"pods/y/exec?command=sh", b"Connection: Upgrade", b"Upgrade: websocket"))
    responder = desk.cluster.last.responder
    responder.on_head(101, -1, b"", CANARY.encode(), False)
    client.feed(b"export TOKEN=" + CANARY.encode())
    responder.on_data(CANARY.encode())
    client.vanish()
    assert_clean(desk, 2)
