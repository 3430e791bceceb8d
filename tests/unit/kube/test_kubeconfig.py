import base64
from pathlib import Path
from typing import Any

import pytest

from outrider.kit import yaml
from outrider.kube.kubeconfig import ClusterAccess, KubeconfigError, in_cluster, load, render

CA, CERT, KEY = b"-- ca --\n", b"-- cert --\n", b"-- key --\n"


def write(folder: Path, cluster: dict[str, Any], user: dict[str, Any], **top: Any) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://k8s:6443", **cluster}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [
            {"name": "one", "context": {"cluster": "c", "user": "u"}},
            {"name": "nobody", "context": {"cluster": "c"}},
            {"name": "broken", "context": {"cluster": "gone", "user": "u"}},
        ],
        "current-context": "one",
        **top,
    }
    file = folder / "config"
    file.write_text(yaml.dump(document))
    return file


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_embedded_data(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        {"certificate-authority-data": b64(CA), "tls-server-name": "kubernetes"},
        {"client-certificate-data": b64(CERT), "client-key-data": b64(KEY)},
    )
    assert load(file) == ClusterAccess(
        server="https://k8s:6443",
        ca_pem=CA,
        client_cert_pem=CERT,
        client_key_pem=KEY,
        tls_server_name="kubernetes",
    )


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "ca.crt").write_bytes(CA)
    file = write(tmp_path, {"certificate-authority": "pki/ca.crt"}, {"tokenFile": "token"})
    access = load(file)
    assert access.ca_pem == CA
    assert access.token_file == tmp_path / "token"


def test_a_context_is_chosen_by_name(tmp_path: Path) -> None:
    file = write(tmp_path, {}, {"token": "t0p"})
    assert load(file).token == "t0p"
    assert load(file, "nobody").token == ""


@pytest.mark.parametrize(
    ("cluster", "user", "message"),
    [
        ({"server": "http://k8s:80"}, {}, "not an https://"),
        ({"server": "ftp://k8s"}, {}, "not an https://"),
        ({"server": None}, {}, "not an https://"),
        ({"insecure-skip-tls-verify": True}, {}, "certificate-authority-data"),
        ({"certificate-authority-data": "%%%"}, {}, "not base64"),
        ({"certificate-authority": "absent.crt"}, {}, "cannot read"),
        ({}, {"exec": {"command": "aws"}}, "'exec' are not supported"),
        ({}, {"username": "a", "password": "hunter2"}, "'username' are not supported"),
        ({}, {"auth-provider": {"name": "x"}}, "'auth-provider' are not supported"),
    ],
)
def test_what_cannot_be_used_is_said(
    tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any], message: str
) -> None:
    file = write(tmp_path, cluster, user)
    with pytest.raises(KubeconfigError, match=message) as caught:
        load(file)
    assert str(file) in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_absent_entries_are_named(tmp_path: Path) -> None:
    file = write(tmp_path, {}, {})
    with pytest.raises(KubeconfigError, match="no entry 'other' under contexts"):
        load(file, "other")
    with pytest.raises(KubeconfigError, match="no entry 'gone' under clusters"):
        load(file, "broken")
    with pytest.raises(KubeconfigError, match="no current-context"):
        load(write(tmp_path, {}, {}, **{"current-context": ""}))
    with pytest.raises(KubeconfigError, match="cannot read"):
        load(tmp_path / "absent")


@pytest.mark.parametrize("text", ["- a\n", "x", "{", "token: !!python/object:os.system x\n", "\0"])
def test_a_file_that_is_no_kubeconfig(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(KubeconfigError):
        load(file)


def test_loopback_may_do_without_tls(tmp_path: Path) -> None:
    assert load(write(tmp_path, {"server": "http://127.0.0.1:8001"}, {})).server == "http://127.0.0.1:8001"


def test_secrets_stay_out_of_the_representation() -> None:
    access = ClusterAccess(server="https://k8s", token="t0p-secret", client_key_pem=b"pr1vate")
    assert "t0p-secret" not in repr(access)
    assert "pr1vate" not in repr(access)


def test_what_is_rendered_is_read_back(tmp_path: Path) -> None:
    hostile = 'x: "y"\n- &a *b'
    text = render(
        name=hostile, server="https://h/k8s/clusters/c-1", token="abc", ca_pem=CA, client_cert_pem=CERT,
        client_key_pem=KEY, namespace="apps",
    )  # fmt: skip
    file = tmp_path / "config"
    file.write_text(text)
    access = load(file)
    assert (access.server, access.token, access.ca_pem) == ("https://h/k8s/clusters/c-1", "abc", CA)
    assert (access.client_cert_pem, access.client_key_pem) == (CERT, KEY)
    assert yaml.load(text)["current-context"] == hostile


def test_in_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("t\n")
    (tmp_path / "ca.crt").write_bytes(CA)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    access = in_cluster(tmp_path)
    assert access.server == "https://[fd00::1]:443"
    assert (access.ca_pem, access.token_file) == (CA, tmp_path / "token")
    (tmp_path / "token").unlink()
    with pytest.raises(KubeconfigError, match="automountServiceAccountToken"):
        in_cluster(tmp_path)
    monkeypatch.delenv("KUBERNETES_SERVICE_PORT")
    with pytest.raises(KubeconfigError, match="not in a pod"):
        in_cluster(tmp_path)
