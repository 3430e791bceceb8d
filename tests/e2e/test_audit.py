"""The audit log of a whole instance at level 3, with real clients: everything is on record, and no secret is."""

import base64
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import until
from tests.support.door import Door, trusting
from tests.support.instance import Instance
from tests.support.kubectl import Kubectl
from tests.unit.gateway.audit_samples import lines_of

CANARY = "CanaryRz4"
PATCH = json.dumps([{"op": "add", "path": "/data/y", "value": base64.b64encode(CANARY.encode()).decode()}])
SECRET = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: s2}}\nstringData: {{p: {CANARY}}}\n"
POD = {
    "apiVersion": "v1",
    "kind": "PodTemplate",
    "metadata": {"name": "t"},
    "template": {
        "spec": {
            "containers": [
                {
                    "name": "c",
                    "image": "x",
                    "args": ["--token", CANARY],
                    "env": [{"name": "DB_PASSWORD", "value": CANARY}],
                }
            ]
        }
    },
}
COMMANDS: list[tuple[list[str], str]] = [
    (["create", "secret", "generic", "s1", f"--from-literal=k={CANARY}"], ""),
    (["create", "configmap", "c1", f"--from-literal=k={CANARY}"], ""),
    (["apply", "-f", "-"], SECRET),
    (["apply", "--server-side", "-f", "-"], SECRET.replace("s2", "s3")),
    (["apply", "-f", "-"], json.dumps(POD)),
    (["patch", "secret", "s2", "--type=merge", "-p", json.dumps({"stringData": {"z": CANARY}})], ""),
    (["patch", "secret", "s2", "--type=json", "-p", PATCH], ""),
    (["get", "secret,configmap,podtemplate", "-o", "json"], ""),
    (["get", "secrets", "-A"], ""),
    (["create", "token", "default"], ""),
    (["delete", "secret", "s1", "s2", "s3"], ""),
]


def log_of(instance: Instance) -> list[dict[str, Any]]:
    return [line for path in (instance.data / "audit").glob("audit*.log") for line in lines_of(path)]


@pytest.mark.timeout(240)
def test_nothing_is_missing_and_no_secret_is_there(
    own: Callable[..., Instance], new_kubectl: Path, home: Path
) -> None:
    instance = own("--demo", "1", "--audit-level", "3")
    ready = instance.start()
    cluster = ready["clusters"][0]
    issued: list[str] = []
    for config in (cluster["kubeconfig"], ready["admin_kubeconfig"]):
        kubectl = Kubectl(new_kubectl, config, home)
        for arguments, stdin in COMMANDS:
            said = kubectl(*arguments, stdin=stdin)
            issued += [said.strip()] if arguments[:2] == ["create", "token"] else []
    until(lambda: len([e for e in log_of(instance) if e["method"] == "DELETE"]) >= 6)
    events = sign_in_and_out(Door(ready["url"], trusting(ready["ca_file"])), ready, cluster["id"])
    writer = instance.pid("audit")
    os.kill(writer, signal.SIGKILL)
    until(lambda: instance.pid("audit") not in (0, writer))
    kubectl("get", "namespaces")
    until(lambda: any(e["requestURI"].endswith("/namespaces?limit=500") for e in log_of(instance)))
    assert instance.stop() == 0

    entries = log_of(instance)
    seen = [int(entry["auditID"][-12:], 16) for entry in entries if entry.get("stage") != "close"]
    assert sorted(seen) == list(range(1, len(seen) + 1))
    assert events <= {(entry.get("event"), entry["responseCode"]) for entry in entries}
    assert [entry["stage"] for entry in entries if entry["requestURI"].startswith("/v3/connect")] == [
        "open",
        "close",
    ]
    token = Path(cluster["kubeconfig"]).read_text().partition("token: ")[2].split()[0].strip('"')
    secrets = [
        CANARY,
        base64.b64encode(CANARY.encode()).decode().rstrip("="),
        ready["bootstrap_password"],
        token,
    ]
    told = [*(instance.data / "audit").iterdir(), *(instance.data / "server" / "logs").iterdir()]
    for path in told:
        text = path.read_text()
        assert not [secret for secret in [*secrets, *issued, token.partition(":")[2]] if secret in text], path


def sign_in_and_out(door: Door, ready: dict[str, Any], cluster: str) -> set[tuple[str, int]]:
    """Every event of authentication; returns what the log must say of them."""
    path = "/v3-public/localProviders/local?action=login"
    wrong = door.request("POST", path, {"username": "admin", "password": CANARY})
    right = door.request("POST", path, {"username": "admin", "password": ready["bootstrap_password"]})
    assert (wrong.status, right.status) == (401, 201)
    signed_in = door.with_token(right.json()["token"])
    made = signed_in.request("POST", f"/v3/clusters/{cluster}?action=generateKubeconfig")
    refused = door.with_token(f"t:{CANARY}").request("GET", f"/k8s/clusters/{cluster}/api?token={CANARY}")
    gone = signed_in.request("POST", "/v1/logout")
    assert (made.status, refused.status, gone.status) == (200, 401, 200)
    return {
        ("login", 401),
        ("login", 201),
        ("kubeconfigCreate", 200),
        ("authentication", 401),
        ("logout", 200),
    }
