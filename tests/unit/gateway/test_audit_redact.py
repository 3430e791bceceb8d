"""No secret of §5.4 stays in a body; what is no secret does."""

import base64
import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.gateway.audit_redact import login_name, redact_request, redact_response
from outrider.gateway.audit_secrets import REDACTED
from outrider.gateway.audit_topics import About, about

CANARY = "Canary-7Qx"
B64 = base64.b64encode(CANARY.encode()).decode()
SECRET = "bcdfghjklmnpqrstvwxz2456789bcdfghjklmnpqrstvwxz2456789"


def request(body: Any, uri: str = "/v3/things") -> Any:
    return redact_request(body, about(uri))


def response(body: Any, uri: str = "/v3/things") -> Any:
    return redact_response(body, about(uri))


SECRET_OBJECT = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "db", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": CANARY}},
    "type": "Opaque",
    "data": {"a": B64},
    "stringData": {"b": CANARY},
}
CLEAN = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "db", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": REDACTED}},
    "type": "Opaque",
    "data": {"a": REDACTED},
    "stringData": {"b": REDACTED},
}
SECRETS = "/api/v1/namespaces/x/secrets"


@pytest.mark.parametrize(
    ("body", "uri", "expected"),
    [
        (SECRET_OBJECT, SECRETS, CLEAN),
        (SECRET_OBJECT, "/anything", CLEAN),
        (SECRET_OBJECT, "/api/v1/namespaces/x/%73ecrets", CLEAN),
        ({"type": "ADDED", "object": SECRET_OBJECT}, "/a", {"type": "ADDED", "object": CLEAN}),
        (
            [{"type": "MODIFIED", "object": SECRET_OBJECT}],
            SECRETS + "?watch=1",
            [{"type": "MODIFIED", "object": CLEAN}],
        ),
        (
            {"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": [{"data": {"a": B64}}]},
            "/a",
            {"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": [{"data": {"a": REDACTED}}]},
        ),
        ({"kind": "List", "items": [SECRET_OBJECT]}, "/a", {"kind": "List", "items": [CLEAN]}),
        (
            {"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": CANARY}, "binaryData": {"l": B64}},
            "/api/v1/configmaps",
            {
                "kind": "ConfigMap",
                "metadata": {"name": "c"},
                "data": {"k": REDACTED},
                "binaryData": {"l": REDACTED},
            },
        ),
        (
            {"type": "collection", "data": [{"type": "secret", "id": "x:y", "data": {"k": CANARY}}]},
            "/v3/project/c:p/secrets",
            {"type": "collection", "data": [{"type": "secret", "id": "x:y", "data": {"k": REDACTED}}]},
        ),
        (
            {
                "id": "cc",
                "created": "2026",
                "baseType": "cloudCredential",
                "amazonec2credentialConfig": {"x": CANARY},
            },
            "/v3/cloudCredentials",
            {
                "id": "cc",
                "created": "2026",
                "baseType": "cloudCredential",
                "amazonec2credentialConfig": REDACTED,
            },
        ),
        (
            [{"op": "replace", "path": "/data/a", "value": B64}],
            SECRETS + "/db",
            [{"op": "replace", "path": "/data/a", "value": REDACTED}],
        ),
        (
            {"kind": "Status", "status": "Failure", "message": CANARY, "reason": "Invalid", "code": 422},
            SECRETS,
            {"kind": "Status", "status": "Failure", "message": REDACTED, "reason": "Invalid", "code": 422},
        ),
        (
            {"kind": "Table", "metadata": {}, "rows": [{"cells": [CANARY]}]},
            SECRETS,
            {"kind": "Table", "metadata": REDACTED, "rows": REDACTED},
        ),
        ({"metadata": {"labels": {"a": "b"}}}, SECRETS + "/db", {"metadata": {"labels": {"a": "b"}}}),
        (CANARY, SECRETS, REDACTED),
    ],
)
def test_secrets_and_configmaps(body: Any, uri: str, expected: Any) -> None:
    assert request(body, uri) == expected
    assert response(body, uri) == expected


@pytest.mark.parametrize(
    "name",
    [
        *("password", "newPassword", "bindPassword", "PASSWORD", "kubeconfig", "kubeConfigContent", "token"),
        *(
            "serviceAccountToken",
            "accessToken",
            "credentials",
            "applicationSecret",
            "oauthCredential",
            "spKey",
        ),
        *("serviceAccountCredential", "spCert", "certificate", "privateKey", "secretsEncryptionConfig"),
        *("manifestUrl", "insecureWindowsNodeCommand", "insecureNodeCommand", "insecureCommand", "command"),
        *("nodeCommand", "windowsNodeCommand", "clientRandom", "secretKey", "accessKey", "clientSecret"),
        *(
            "client_secret",
            "authEncodedJson",
            "privateKeyContents",
            "apiKey",
            "api_key",
            "Authorization",
            "cookie",
        ),
        *("kubectl.kubernetes.io/last-applied-configuration", "passphrase", "stringData"),
    ],
)
@pytest.mark.parametrize("value", [CANARY, 12345678, [CANARY], {"deep": [CANARY]}])
def test_named_members(name: str, value: Any) -> None:
    body = {"a": [{name: value, "plain": "kept"}]}
    assert request(body) == {"a": [{name: REDACTED, "plain": "kept"}]}


@pytest.mark.parametrize(
    "body",
    [
        {"automountServiceAccountToken": True, "token": None, "password": ""},
        {"imagePullSecrets": [{"name": "pull"}], "volumes": [{"name": "v", "secret": {"secretName": "s"}}]},
        {
            "env": [
                {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                {"name": "B", "value": "1"},
            ]
        },
        {"args": ["--port", "80", "run"], "kind": "Deployment", "replicas": 3, "ratio": 0.5},
        {"metadata": {"name": "token-reviewer", "managedFields": [{"fieldsV1": {"f:data": {}}}]}},
        {"rules": [{"resources": ["secrets", "tokens"], "verbs": ["get"]}]},
        {"kind": "Status", "message": 'pods "x" is forbidden: User "u-1" cannot get resource "pods"'},
        {"type": "error", "status": 401, "code": "Unauthorized"},
        {"kind": "Status", "code": 404},
        {"auth": {"enabled": True}},
        {"image": "registry.example.com/app@sha256:" + "0" * 64},
    ],
)
def test_what_is_no_secret_stays(body: Any) -> None:
    assert request(body) == body


@pytest.mark.parametrize(
    "body",
    [
        {"args": ["--token", CANARY, "x"]},
        {"args": ["--password", CANARY]},
        {"args": [f"--token={CANARY}"]},
        {"env": [{"name": "DB_PASSWORD", "value": CANARY}]},
        {"id": "bootstrap-password", "value": CANARY, "default": CANARY},
        {"metadata": {"name": "auth-token-x"}, "value": CANARY},
        [{"op": "add", "path": "/spec/clientSecret", "value": CANARY}],
        [
            {
                "op": "add",
                "path": "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration",
                "value": CANARY,
            }
        ],
        {"kind": "Token", "apiVersion": "ext.cattle.io/v1", "status": {"value": CANARY}},
        {"kind": "Kubeconfig", "status": {"value": CANARY}},
        {"yaml": f"kind: Secret\nmetadata: {{name: x}}\nx: {CANARY}\n"},
        {"text": f"users:\n- user:\n    token: {CANARY}\n"},
        {"text": f"client-key-data: {CANARY}"},
        {"text": json.dumps({"password": CANARY})},
        {"text": json.dumps({"inner": json.dumps({"password": CANARY})})},
        {"url": f"https://me:{CANARY}@git.example.com/repo"},
        {"headers": [f"Authorization: Bearer {CANARY}"]},
        {"text": "-----BEGIN RSA PRIVATE KEY-----\n" + CANARY},
        {"content": B64 * 30},
        {"code": f"4/{CANARY}"},
        {"SAMLResponse": CANARY},
        {f"password={CANARY}": 1},
        {"x": [[[{"token": CANARY}]]]},
    ],
)
def test_secrets_in_other_places(body: Any) -> None:
    for shown in (request(body), response(body)):
        text = msgspec.json.encode(shown).decode()
        assert CANARY not in text
        assert B64 not in text


def test_secrets_of_ours_are_hidden_wherever_they_stand() -> None:
    assert SECRET not in str(response({"a": f"x {SECRET} y", SECRET: [SECRET]}))


def test_the_config_of_a_made_kubeconfig() -> None:
    body = {"type": "generateKubeConfigOutput", "config": CANARY, "nested": {"config": CANARY}}
    for uri in (
        "/v3/clusters/c?action=generateKubeconfig",
        "/v1/management.cattle.io.clusters/c?%61ction=generateKubeconfig",
        "/v3-public/localProviders/local?action=login",
    ):
        assert CANARY not in str(response(body, uri))
    assert response({"config": "kept"}) == {"config": "kept"}


def test_of_a_sign_in_only_harmless_members_are_shown() -> None:
    body = {
        "username": "admin",
        "password": CANARY,
        "responseType": "json",
        "ttl": 1,
        "x": CANARY,
        "description": 3,
    }
    uri = "/v3-public/localProviders/local?action=login"
    assert request(body, uri) == body | {"password": REDACTED, "x": REDACTED}
    assert request([CANARY], uri) == REDACTED
    assert login_name(body) == "admin"
    assert [login_name(x) for x in ({}, [], {"username": 1}, {"username": SECRET})] == ["", "", "", ""]


@pytest.mark.parametrize(
    ("uri", "topic"),
    [
        (SECRETS, About.SECRETS),
        ("/k8s/clusters/c/api/v1/SECRETS/x", About.SECRETS),
        ("/v1/configmaps/x", About.SECRETS),
        ("/v1/management.cattle.io.cloudcredentials", About.SECRETS),
        ("/api/[5000 characters]", About.SECRETS),
        ("/v1-public/login", About.SIGN_IN),
        ("/v3/clusters/c?action=generateKubeconfig", About.KUBECONFIG),
        ("/v1/ext.cattle.io.kubeconfigs", About.KUBECONFIG),
        ("/api/v1/pods?labelSelector=secrets", About.ANYTHING),
    ],
)
def test_topics(uri: str, topic: About) -> None:
    assert about(uri) is topic


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=8)
            | st.sampled_from(["kind", "type", "items", "data", "object", "metadata", "op", "path"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)
topics = st.sampled_from(About)


@given(json_values, topics)
def test_any_json_can_be_redacted_and_redacting_again_changes_nothing(body: Any, topic: About) -> None:
    once = redact_response(body, topic)
    assert redact_response(once, topic) == once
    msgspec.json.encode(once)


@given(json_values, topics, st.sampled_from(["password", "apiToken", "data"]), st.integers(0, 3))
def test_no_secret_survives_beside_anything(body: Any, topic: About, name: str, depth: int) -> None:
    planted: Any = {"kind": "Secret", name: {"k": CANARY}} if name == "data" else {"x": 1, name: CANARY}
    for _ in range(depth):
        planted = {"beside": body, "here": [planted]}
    assert CANARY not in msgspec.json.encode(redact_request(planted, topic)).decode()


@pytest.mark.parametrize(
    "text", ["token" * 50_000, "eyJ" * 80_000, "a:" * 100_000, "-----BEGIN " * 20_000, "[" * 500]
)
def test_hostile_texts_cost_little(text: str) -> None:
    began = time.process_time()
    response({"a": text})
    assert time.process_time() - began < 2.0
