"""Starting, stopping, starting again; several side by side; and what is said when it cannot start."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from outrider.kit import pki
from outrider.kube import kubeconfig
from outrider.kube.embedded.cluster import EmbeddedCluster
from tests.e2e.conftest import until
from tests.support.door import Door, trusting
from tests.support.hosted import hosted
from tests.support.instance import Command, DidNotStart, Instance, alive, environment, run
from tests.support.kubectl import Kubectl

Own = Callable[..., Instance]


def processes_of(folder: Path) -> list[int]:
    """Processes whose command line names a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and alive(int(entry.name)):
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in line:
                found.append(int(entry.name))
    return found


def test_ctrl_c_loses_nothing(own: Own, new_kubectl: Path, home: Path) -> None:
    instance = own("--demo", "1")
    before = instance.start()
    (cluster,) = before["clusters"]
    copy = instance.data.parent / "kept.yaml"
    shutil.copy(cluster["kubeconfig"], copy)
    through = Kubectl(new_kubectl, copy, home)
    management = through.at(before["admin_kubeconfig"])
    through("create", "configmap", "kept", "--from-literal=in=the-cluster")
    management("create", "configmap", "kept", "--from-literal=in=the-management-cluster")

    began = time.monotonic()
    assert instance.stop(signal.SIGINT) == 0
    assert time.monotonic() - began < 15
    assert not [role for role, pid in before["pids"].items() if alive(pid)]
    assert processes_of(instance.data) == []
    assert "stopping" in instance.command.output
    assert "Traceback" not in instance.command.output

    after = instance.start()
    assert (after["url"], after["clusters"][0]["id"]) == (before["url"], cluster["id"])
    assert kubeconfig.load(after["clusters"][0]["kubeconfig"]) == kubeconfig.load(copy)
    assert after["bootstrap_password"] == before["bootstrap_password"]
    assert through.json("get", "configmap", "kept")["data"] == {"in": "the-cluster"}
    assert management.json("get", "configmap", "kept")["data"] == {"in": "the-management-cluster"}
    record = management.json("get", "clusters.management.cattle.io", cluster["id"])
    assert record["status"]["connected"]
    assert record["status"]["state"] == "active"

    # The supervisor itself is killed: whatever it leaves behind is in nobody's way.
    os.kill(instance.command.process.pid, signal.SIGKILL)
    instance.command.wait()
    again = instance.start()
    assert (again["url"], again["clusters"][0]["id"]) == (before["url"], cluster["id"])
    assert through.json("get", "configmap", "kept")["data"] == {"in": "the-cluster"}
    assert instance.stop(signal.SIGTERM) == 0
    assert processes_of(instance.data) == []


def test_ctrl_c_while_it_starts(own: Own) -> None:
    instance = own("--demo", "1")
    command = instance.launch()
    until(lambda: "starting the server" in command.output, 60)
    code = command.stop(signal.SIGINT)
    assert code not in {0, 1}
    assert "Traceback" not in command.output
    assert processes_of(instance.data) == []
    assert not instance.ready_file.exists()


def test_two_side_by_side(own: Own, instance: Instance) -> None:
    other = own()
    ready = other.start()
    assert ready["url"] != instance.ready["url"]
    assert ready["clusters"] == []
    assert ready["bootstrap_password"] != instance.ready["bootstrap_password"]
    stranger = Door.of_kubeconfig(instance.ready["admin_kubeconfig"]).token
    theirs = Door(ready["url"], trusting(ready["ca_file"]))
    assert theirs.get("/ping").status == 200
    assert theirs.with_token(stranger).get("/v3/users").status == 401
    with pytest.raises(ssl.SSLCertVerificationError):
        Door(ready["url"], trusting(instance.ready["ca_file"])).get("/ping")
    assert Door.of_kubeconfig(ready["admin_kubeconfig"]).get("/api/v1/namespaces").status == 200


# what cannot work


def refused(command: Command, *words: str) -> None:
    """It ends soon with an error that contains these words, and no trace."""
    try:
        code = command.wait(60)
    finally:
        command.stop(signal.SIGKILL)
    assert code not in {0, -signal.SIGKILL}, command.output
    assert "Traceback" not in command.output
    said = command.output.lower()
    for word in words:
        assert word.lower() in said, command.output


def test_a_data_folder_in_use(instance: Instance, tmp_path: Path) -> None:
    arguments = ["up", "--data", str(instance.data), "--listen", "127.0.0.1:0"]
    refused(
        Command(arguments, output=tmp_path / "out", environ=environment()),
        "error:",
        "in use",
        str(instance.data),
    )
    assert Door.of_kubeconfig(instance.ready["admin_kubeconfig"]).get("/version").status == 200


def test_a_port_in_use(own: Own) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        refused(own("--listen", f"127.0.0.1:{port}").launch(), "error:", str(port), "in use")


def test_a_missing_binary(own: Own) -> None:
    instance = own(environ={"OUTRIDER_KUBE": "/no/such/binary"})
    refused(instance.launch(), "error:", "/no/such/binary", "OUTRIDER_KUBE")


def test_a_binary_that_is_none(own: Own, tmp_path: Path) -> None:
    program = tmp_path / "kube"
    program.write_text("#!/bin/sh\necho no Kubernetes here >&2\nexit 3\n")
    program.chmod(0o755)
    refused(own(environ={"OUTRIDER_KUBE": str(program)}).launch(), "error:")


def test_a_data_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "data"
    refused(
        Command(["up", "--data", str(folder)], output=tmp_path / "out", environ=environment()),
        "error:",
        str(folder),
    )


def test_a_data_folder_whose_path_is_too_long(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    command = Command(["up", "--data", str(folder)], output=tmp_path / "out", environ=environment())
    refused(command, "error:", "bytes too long", "--data")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["up", "--listen", "nonsense"], "ADDRESS:PORT"),
        (["up", "--listen", "127.0.0.1:99999"], "ADDRESS:PORT"),
        (["up", "--demo", "-1"], "--demo"),
        (["up", "--tls-cert", "/no/such.pem"], "/no/such.pem"),
        (["up", "--trusted-proxy", "everybody"], "everybody"),
        (["up", "--audit-level", "9"], "--audit-level"),
        (["server", "--kubeconfig", "/no/such.yaml"], "/no/such.yaml"),
        (["admin", "--data", "/no/such", "reset-password"], "outrider up"),
        (["agent"], "CATTLE_"),
        (["nothing"], "nothing"),
    ],
)
def test_bad_arguments(arguments: list[str], words: str, tmp_path: Path) -> None:
    if arguments[0] == "up":
        arguments = [*arguments, "--data", str(tmp_path / "d")]
    done = run(*arguments, seconds=30)
    assert done.returncode not in {0, 130}
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "d" / "management").exists()


def test_a_key_without_its_certificate(own: Own, tmp_path: Path) -> None:
    one, other = issued(tmp_path, "one"), issued(tmp_path, "other")
    refused(own("--tls-cert", str(one / "tls.crt"), "--tls-key", str(other / "tls.key")).launch(), "tls.key")
    alone = own("--tls-cert", str(one / "tls.crt")).launch()
    refused(alone, "--tls-key")


def issued(folder: Path, name: str) -> Path:
    """A folder with a CA, and a certificate of it with its key."""
    now = datetime.now(UTC)
    authority = pki.create_authority(name, now=now)
    serving = pki.issue_server(authority, name, now=now, dns=["localhost"], ips=["127.0.0.1"])
    home = folder / name
    home.mkdir(exist_ok=True)
    for file, content in (
        ("ca.crt", authority.cert_pem),
        ("tls.crt", serving.cert_pem),
        ("tls.key", serving.key_pem),
    ):
        partial = home / f".{file}"
        partial.write_bytes(content)
        partial.rename(home / file)
    return home


# an administrator on the machine


def test_reset_password(instance: Instance, door: Door, admin: Door) -> None:
    login = "/v3-public/localProviders/local?action=login"
    bootstrap = instance.ready["bootstrap_password"]
    done = run("admin", "--data", str(instance.data), "reset-password")
    assert done.returncode == 0, done.stderr
    fresh = done.stdout.strip().splitlines()[-1].split()[-1]
    assert door.post(login, {"username": "admin", "password": bootstrap}).status == 401
    session = door.post(login, {"username": "admin", "password": fresh})
    assert session.status == 201, session.body
    back = {"currentPassword": fresh, "newPassword": bootstrap}
    signed_in = door.with_token(session.json()["token"])
    assert signed_in.post("/v3/users?action=changepassword", back).status in {200, 204}
    done = run("admin", "--data", str(instance.data), "ensure-default-admin")
    assert done.returncode == 0, done.stderr
    assert admin.get("/v3/users?me=true").json()["data"][0]["id"] in done.stdout


# metrics


def test_metrics(door: Door, admin: Door, instance: Instance) -> None:
    assert door.get("/metrics").status == 401
    body = {"type": "user", "username": "metrics-reader", "password": "a password of hers"}
    user = admin.post("/v3/users", body).json()["id"]
    login = door.post("/v3-public/localProviders/local?action=login", body)
    somebody = door.with_token(login.json()["token"])
    denied = somebody.get("/metrics")
    assert (denied.status, denied.json()["code"]) == (403, "PermissionDenied")
    admin.request("DELETE", f"/v3/users/{user}")

    admin.get("/k8s/clusters/c-zzzzz/api")

    def counted() -> bool:
        return 'rancher_api_errors_total{code="404"}' in admin.get("/metrics").body.decode()

    until(counted, 10)
    answer = admin.get("/metrics")
    assert answer.header("Content-Type").startswith("text/plain")
    text = answer.body.decode()
    for cluster in instance.ready["clusters"]:
        assert (
            f'rancher_agent_connected{{cluster="{cluster["id"]}",cluster_name="{cluster["name"]}"}} 1.0'
            in text
        )
    assert re.search(r"^outrider_gateway_tunnels 2.0$", text, re.MULTILINE)
    assert "# TYPE rancher_agent_connected gauge" in text
    assert "# TYPE rancher_api_errors_total counter" in text


# on a Kubernetes that is there already


@pytest.fixture
def served(kube_binary: Path, tmp_path: Path) -> Any:
    """`outrider server` on an existing cluster, with certificate files and a plain listener behind a proxy."""
    files = issued(tmp_path, "given")
    folder = tmp_path / "k"
    with hosted(EmbeddedCluster(folder, durable=False, name="existing", binary=kube_binary)) as cluster:
        config = cluster.kubeconfig(tmp_path / "existing.yaml")
        arguments = [
            "server",
            "--kubeconfig",
            str(config),
            "--data",
            str(tmp_path / "s"),
            "--listen",
            "127.0.0.1:0",
        ]
        arguments += ["--listen-http", "127.0.0.1:0", "--trusted-proxy", "127.0.0.1/32"]
        arguments += ["--tls-cert", str(files / "tls.crt"), "--tls-key", str(files / "tls.key")]
        arguments += ["--tls-ca", str(files / "ca.crt")]
        environ = environment() | {"CATTLE_BOOTSTRAP_PASSWORD": "the first password"}
        command = Command(arguments, output=tmp_path / "server.log", environ=environ)
        try:
            until(lambda: "serving on" in command.output or command.process.poll() is not None, 60)
            ports = [int(port) for port in re.findall(r"\d+", command.output.partition("serving on")[2])]
            assert len(ports) == 2, command.output
            yield files, ports, command
        finally:
            command.stop()


def test_a_server_on_an_existing_cluster(served: Any, tmp_path: Path) -> None:
    files, (https, http), command = served
    door = Door(f"https://127.0.0.1:{https}", trusting(files / "ca.crt"))
    assert door.get("/ping").body == b"pong"
    assert door.get("/cacerts").body.strip() == (files / "ca.crt").read_bytes().strip()
    login = {"username": "admin", "password": "the first password"}
    session = door.post("/v3-public/localProviders/local?action=login", login)
    assert session.status == 201, session.body
    admin = door.with_token(session.json()["token"])
    assert admin.get("/k8s/clusters/local/api/v1/namespaces/cattle-system").status == 200
    assert admin.get("/k8s/clusters/c-zzzzz/api").status == 404

    # Behind a proxy that ends TLS, whoever the proxy is.
    forwarded = {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "fleet.test",
        "X-Forwarded-For": "192.0.2.1",
    }
    trusted, foreign = plain(http, "127.0.0.1", forwarded), plain(http, "127.0.0.3", forwarded)
    assert b'"https://fleet.test/v3-public/' in trusted
    assert b"fleet.test" not in foreign
    assert f'"http://127.0.0.1:{http}/v3-public/'.encode() in foreign

    # Another certificate takes the place of the first while all goes on.
    with admin.stream("/api/v1/namespaces?watch=1") as watch:
        former = door.socket()
        first = former.getpeercert(binary_form=True)
        former.close()
        issued(tmp_path, "given")
        fresh = Door(f"https://127.0.0.1:{https}", trusting(files / "ca.crt"), token=admin.token)
        until(lambda: serves(fresh), 15)
        with fresh.socket() as stream:
            assert stream.getpeercert(binary_form=True) != first
        until(lambda: fresh.get("/cacerts").body.strip() == (files / "ca.crt").read_bytes().strip(), 10)
        # What cannot be used is not used.
        (files / "tls.key").write_text("nonsense")
        time.sleep(6)
        assert serves(fresh)
        assert fresh.post("/api/v1/namespaces", {"metadata": {"name": "seen"}}).status == 201
        events = b""
        while b'"seen"' not in events:
            events += watch.read1(65536)
    assert command.stop() == 0
    assert "Traceback" not in command.output


def serves(door: Door) -> bool:
    try:
        return door.get("/ping").status == 200
    except ssl.SSLError:
        return False


def plain(port: int, source: str, headers: dict[str, str]) -> bytes:
    """GET of the auth providers over plain HTTP."""
    lines = [f"{name}: {value}" for name, value in headers.items()]
    request = [
        "GET /v3-public/authProviders HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Connection: close",
        *lines,
        "",
        "",
    ]
    with socket.create_connection(("127.0.0.1", port), 10, (source, 0)) as stream:
        stream.sendall("\r\n".join(request).encode())
        answer = b""
        while data := stream.recv(65536):
            answer += data
    return answer


def test_an_existing_cluster_that_does_not_answer(tmp_path: Path) -> None:
    config = tmp_path / "nobody.yaml"
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        port = unused.getsockname()[1]
    config.write_text(kubeconfig.render(name="nobody", server=f"https://127.0.0.1:{port}", token="t"))
    arguments = [
        "server",
        "--kubeconfig",
        str(config),
        "--data",
        str(tmp_path / "s"),
        "--listen",
        "127.0.0.1:0",
    ]
    refused(Command(arguments, output=tmp_path / "out", environ=environment()), "error:", f"127.0.0.1:{port}")


def test_did_not_start_is_an_error_of_its_own(tmp_path: Path) -> None:
    instance = Instance(tmp_path, "--listen", "nonsense")
    with pytest.raises(DidNotStart, match="ADDRESS:PORT"):
        instance.start()
