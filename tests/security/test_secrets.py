"""Every secret that exists is used once, and none of them is found where it does not belong.

The secrets are not a list that somebody must keep: whatever any Secret of any of the clusters holds is one, and
whatever was handed out to a client in these tests.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.conftest import until
from tests.support.door import Door, basic
from tests.support.instance import Instance
from tests.support.kubectl import Kubectl
from tests.support.people import LOGIN, PASSWORD, People, Person
from tests.support.raw_client import upgrade
from tests.support.records import connect

PUBLIC = {"ca.crt", "tls.crt", "namespace", "url", "service-ca.crt", "agentServiceImage", "expiresAt"}
"""Keys of Secrets whose values everybody may know."""
SHORT = 16
"""What is shorter is found by chance."""
MADE_UP = "Canary" + uuid4().hex


class Vault:
    """Secrets by where they come from."""

    def __init__(self) -> None:
        self.known: dict[str, bytes] = {}

    def add(self, name: str, value: str | bytes) -> str:
        """Remembers a secret, and the part of a token that proves it."""
        text = value if isinstance(value, str) else value.decode("utf-8", "replace")
        for number, piece in enumerate(_telling(text)):
            self.known[f"{name} {number}" if number else name] = piece.encode()
        return text

    def found_in(self, data: bytes) -> list[str]:
        """Which of them are in there, plain or in base64."""
        return [name for name, value in self.known.items() if value in data or _base64(value) in data]


def _telling(text: str) -> Iterator[str]:
    """The parts of a secret that must not be seen: the middle of a PEM, the secret half of `name:secret`."""
    if "PRIVATE KEY" in text:
        yield from (line for line in text.splitlines() if len(line) == 64)
    elif "-----BEGIN" not in text:
        half = text.rpartition(":")[2] if re.fullmatch(r"[\w-]+:\w{20,}", text) else text
        if len(half) >= SHORT:
            yield half


def _base64(value: bytes) -> bytes:
    """What base64 makes of the bytes in the middle, wherever they begin in groups of three."""
    return base64.b64encode(value)[:-4]


def harvest(vault: Vault, kubectl: Kubectl, where: str) -> None:
    """All Secrets of a cluster."""
    for secret in kubectl.json("get", "secrets", "-A")["items"]:
        for key, value in (secret.get("data") or {}).items():
            if key not in PUBLIC:
                vault.add(f"{where} {secret['metadata']['name']} {key}", base64.b64decode(value))


@pytest.fixture(scope="module")
def kubectls(instance: Instance, new_kubectl: Path, home: Path) -> dict[str, Kubectl]:
    """Straight to each API server, with its administrator's credential."""
    one = Kubectl(new_kubectl, instance.ready["admin_kubeconfig"], home)
    direct = {cluster["name"]: one.at(cluster["direct_kubeconfig"]) for cluster in instance.ready["clusters"]}
    return {"management": one, **direct}


@pytest.fixture(scope="module")
def used(
    instance: Instance, administrator: Door, kubectls: dict[str, Kubectl], alice: Person
) -> Iterator[Vault]:
    """Everything that a client can do with a secret was done, right and wrong."""
    vault = Vault()
    vault.add("made up", MADE_UP)
    vault.add("bootstrap password", instance.ready["bootstrap_password"])
    vault.add("kubeconfig's token", administrator.token)
    vault.add("session", alice.door.token)
    vault.add("password", PASSWORD)
    people = People(administrator)
    _sign_in(vault, administrator, people)
    _hand_out(vault, administrator, instance)
    _register(vault, administrator, kubectls["management"], instance)
    _write(vault, administrator, instance)
    _misplace(vault, administrator, instance)
    for name, kubectl in kubectls.items():
        harvest(vault, kubectl, name)
    for path in (*instance.data.glob("**/serviceaccount/token"), *instance.data.glob("**/credentials/token")):
        vault.add(f"file {path.parent.name} {path.name}", path.read_text())
    vault.add("the gateway's account", _token_of(instance.data / "server" / "gateway.kubeconfig"))
    until(lambda: b"last of these" in _audit(instance), 15, "the audit log is written")
    yield vault
    people.drop()


def _sign_in(vault: Vault, administrator: Door, people: People) -> None:
    door = administrator.with_token("")
    one = people(f"first {MADE_UP}")
    for response in ("json", "cookie", "kubeconfig"):
        body = {"username": one.username, "password": f"first {MADE_UP}", "responseType": response}
        answer = door.post(LOGIN, body)
        if response == "cookie":
            value = vault.add("cookie", answer.cookies()["R_SESS"].partition(";")[0].strip('"'))
            door.request(
                "GET", "/v3/users?me=true", headers={"Cookie": f"R_SESS={value}", "User-Agent": "Mozilla"}
            )
        else:
            vault.add(f"login {response}", answer.json()["token"])
    attacker = door.come_from("127.0.0.71")
    attacker.post(LOGIN, {"username": one.username, "password": f"wrong {MADE_UP}"})
    attacker.post(LOGIN, {"username": "nobody", "password": MADE_UP})
    attacker.post("/v1-public/login", {"type": "none", "username": "x", "password": MADE_UP})
    attacker.request("POST", LOGIN, f'{{"username": "x", "password": "{MADE_UP}'.encode())
    change = {"currentPassword": f"first {MADE_UP}", "newPassword": f"second {MADE_UP}"}
    assert one.door.post("/v3/users?action=changepassword", change).status == 200
    one.door.post("/v3/users?action=changepassword", change | {"newPassword": MADE_UP[:3]})
    administrator.post(f"/v3/users/{one.name}?action=setpassword", {"newPassword": f"third {MADE_UP}"})
    door.request("GET", "/v3/users?me=true", headers=basic(one.username, f"third {MADE_UP}"))
    door.request("GET", "/v3/users?me=true", headers=basic(one.username, MADE_UP))


def _hand_out(vault: Vault, administrator: Door, instance: Instance) -> None:
    made = administrator.post("/v3/tokens", {"type": "token", "description": "canary"}).json()
    vault.add("token", made["token"])
    administrator.get(f"/v3/tokens/{made['id']}")
    cluster = instance.ready["clusters"][0]["id"]
    config = administrator.post(f"/v3/clusters/{cluster}?action=generateKubeconfig").json()["config"]
    found = re.search(r"token: \"?([^\"\s]+)", config)
    assert found is not None
    vault.add("generated kubeconfig", found[1])
    administrator.with_token(found[1]).get(f"/k8s/clusters/{cluster}/api")
    path = f"/k8s/clusters/{cluster}/api/v1/namespaces/default/serviceaccounts/default/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    issued = administrator.post(path, request)
    assert issued.status == 201
    vault.add("token of an account", issued.json()["status"]["token"])
    administrator.request("DELETE", f"/v3/tokens/{made['id']}")


def _register(vault: Vault, administrator: Door, management: Kubectl, instance: Instance) -> None:
    door = administrator.with_token("")
    cluster = instance.ready["clusters"][0]["id"]
    listed = administrator.get(f"/v3/clusterRegistrationTokens?clusterId={cluster}").json()["data"]
    token = vault.add("registration", listed[0]["token"])
    for path in (
        f"/v3/import/{token}_{cluster}.yaml",
        f"/v3/import/{token}.yaml",
        f"/v3/import/{token}x.yaml",
    ):
        door.come_from("127.0.0.72").get(path)
    for sent in (token, f"{token}x", MADE_UP):
        connect(door, sent)[1].close()
    connect(door, token, token=MADE_UP)[1].close()


def _write(vault: Vault, administrator: Door, instance: Instance) -> None:
    for cluster in (instance.ready["clusters"][0]["id"], "local"):
        base = f"/k8s/clusters/{cluster}/api/v1/namespaces/default"
        secret = {"metadata": {"name": "canary"}, "stringData": {"k": MADE_UP}}
        assert administrator.post(f"{base}/secrets", secret).status == 201
        administrator.get(f"{base}/secrets/canary")
        administrator.get(f"{base}/secrets?watch=true&timeoutSeconds=1")
        administrator.request("PUT", f"{base}/secrets/canary", secret)
        administrator.request("DELETE", f"{base}/secrets/canary")
        administrator.post(
            f"{base}/configmaps?dryRun=All", {"metadata": {"name": "x"}, "data": {"k": MADE_UP}}
        )
        administrator.request("POST", f"{base}/secrets", f'{{"stringData": {{"k": "{MADE_UP}'.encode())


def _misplace(vault: Vault, administrator: Door, instance: Instance) -> None:
    """Where a secret does not belong, and a client puts it nevertheless."""
    cluster = instance.ready["clusters"][0]["id"]
    lost = vault.add("a token in a URL", administrator.post("/v3/tokens", {"type": "token"}).json()["token"])
    for path in (
        f"/v3/things?token={lost}",
        f"/k8s/clusters/{cluster}/api?access_token={MADE_UP}",
        f"/v3/tokens/{lost}",
        f"/k8s/clusters/{cluster}/api/v1/namespaces/x/pods/y/exec?command=--token&command={MADE_UP}",
        f"/v3/users?password={MADE_UP}",
    ):
        administrator.get(path)
    for headers in (
        {"Authorization": f"Bearer {MADE_UP}"},
        {"Authorization": f"Bearer a:{MADE_UP}"},
        {"Authorization": f"Digest {MADE_UP}"},
        {"Cookie": f"R_SESS={MADE_UP}; CSRF={MADE_UP}"},
        {"X-API-Tunnel-Token": MADE_UP, "Referer": f"https://h/v3/import/{lost}.yaml"},
    ):
        administrator.with_token("").request("GET", f"/k8s/clusters/{cluster}/api", headers=headers)
    upgrade(administrator.with_token(lost), f"/k8s/clusters/{cluster}/api?watch=1")[2].close()
    administrator.get("/v3/things?note=last+of+these")


def _audit(instance: Instance) -> bytes:
    data = b"".join(path.read_bytes() for path in (instance.data / "audit").glob("audit*.log"))
    return data.replace(b"last+of+these", b"last of these")


def _token_of(config: Path) -> str:
    found = re.search(r"token: \"?([^\"\s]+)", config.read_text())
    return found[1] if found is not None else config.read_text()


def logs(instance: Instance) -> Iterable[Path]:
    """All that any of the processes has said, and the audit log."""
    yield from instance.data.glob("**/*.log")
    yield from (instance.data / "audit").iterdir()
    yield from instance.data.parent.glob("up-*.log")


def test_there_is_something_to_look_for(used: Vault, instance: Instance) -> None:
    """The control: all kinds of secret are known, all processes have spoken, and what is there is found."""
    names = "\n".join(used.known)
    for kind in (
        "bootstrap password",
        "cookie",
        "session",
        "registration",
        "generated kubeconfig",
        "token of an account",
        "the gateway's account",
        "serviceaccount token",
        "management crt-token-",
        "cattle-credentials",
        "cattle-impersonation",
        "tls.key",
    ):
        assert kind in names, kind
    assert len(used.known) > 25
    spoken = {path.name for path in logs(instance) if path.stat().st_size}
    assert {"gateway.log", "control.log", "audit.log", "agent.log", "up-1.log"} <= spoken
    assert any(b" DEBUG " in path.read_bytes() for path in logs(instance)), "the fullest logs"
    for name, value in used.known.items():
        assert used.found_in(b"x" + value + b"y"), name
        assert used.found_in(base64.b64encode(value)), name


def test_cve_2023_22649_no_log_of_any_process_holds_a_secret(used: Vault, instance: Instance) -> None:
    greeting = "bootstrap password"  # `up` says it once, to whoever started it
    for path in logs(instance):
        found = used.found_in(path.read_bytes())
        if path.name.startswith("up-"):
            found = [name for name in found if not name.startswith(greeting)]
            found = [n for n in found if used.known[n] != used.known[greeting]]
        assert not found, path


def test_no_command_line_or_environment_holds_a_secret(used: Vault, instance: Instance) -> None:
    for role in ("gateway", "control", "audit", "demo-1-agent"):
        process = Path(f"/proc/{instance.pid(role)}")
        for name in ("cmdline", "environ"):
            assert not used.found_in((process / name).read_bytes()), (role, name)


def test_cve_2021_36782_and_2022_43757_who_may_read_everything_but_secrets_reads_none(
    used: Vault,
    instance: Instance,
    kubectls: dict[str, Kubectl],
    person: Callable[[], Person],
    administrator: Door,
) -> None:
    """CVE-2021-36783 as well. All objects of all kinds, as a user who may list all but Secrets, by all APIs."""
    management = kubectls["management"]
    one = person()
    kinds = [
        kind
        for kind in management("api-resources", "--verbs=list", "-o", "name").split()
        if kind not in {"secrets", "events", "events.events.k8s.io"}
    ]
    rules = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": f"reader-{one.name}"},
        "rules": [
            {
                "apiGroups": [kind.partition(".")[2]],
                "resources": [kind.partition(".")[0]],
                "verbs": ["get", "list", "watch"],
            }
            for kind in kinds
        ],
    }
    management("create", "-f", "-", stdin=json.dumps(rules))
    bound = f"--clusterrole=reader-{one.name}"
    management("create", "clusterrolebinding", f"reader-{one.name}", bound, f"--user={one.name}")
    seen = Reader(one.door, instance)
    until(lambda: one.door.get("/k8s/clusters/local/api/v1/configmaps").status == 200, 10)
    try:
        assert not used.found_in(seen.everything(management, kinds))
        for path in seen.views():
            assert not used.found_in(one.door.get(path).body), path
        assert seen.objects > 50
    finally:
        management("delete", "clusterrole,clusterrolebinding", f"reader-{one.name}")


class Reader:
    """Reads all there is, with one user's rights."""

    def __init__(self, door: Door, instance: Instance) -> None:
        self.objects = 0
        self._door = door
        self._instance = instance

    def everything(self, kubectl: Kubectl, kinds: list[str]) -> bytes:
        """All objects of these kinds on the management cluster."""
        said = kubectl.at(self._config())("get", ",".join(kinds), "-A", "-o", "json")
        self.objects = len(json.loads(said)["items"])
        return said.encode()

    def views(self) -> list[str]:
        """What the façades show of the same."""
        first = self._instance.ready["clusters"][0]["id"]
        names = (
            "clusters",
            "clusterRegistrationTokens",
            "users",
            "tokens",
            "settings",
            "nodes",
            "authConfigs",
        )
        return [
            *(f"/v3/{name}" for name in names),
            f"/v3/clusters/{first}",
            "/v1/management.cattle.io.clusters",
            "/v3",
        ]

    def _config(self) -> Path:
        path = self._instance.data.parent / "reader.yaml"
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [
                        {
                            "name": "c",
                            "cluster": {
                                "server": f"{self._instance.ready['url']}/k8s/clusters/local",
                                "certificate-authority": self._instance.ready["ca_file"],
                            },
                        }
                    ],
                    "users": [{"name": "u", "user": {"token": self._door.token}}],
                    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                    "current-context": "x",
                }
            )
        )
        return path


def test_cve_2024_22032_a_cluster_is_told_no_key_of_ours(used: Vault, kubectls: dict[str, Kubectl]) -> None:
    """Nothing that is in no Secret over there holds a secret, and no Secret over there a key of the server's."""
    keys = {
        name: value
        for name, value in used.known.items()
        if name.startswith("management") and "tls.key" in name
    }
    assert keys
    for name, kubectl in kubectls.items():
        if name == "management":
            continue
        secrets = kubectl("get", "secrets", "-A", "-o", "json").encode()
        assert not [key for key, value in keys.items() if value in secrets or _base64(value) in secrets], name
        rest = kubectl(
            "get", "configmaps,serviceaccounts,deployments,clusterroles", "-A", "-o", "json"
        ).encode()
        assert not used.found_in(rest), name
