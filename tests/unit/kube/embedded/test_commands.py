import json
from pathlib import Path

import pytest

from outrider.kube import kubeconfig
from outrider.kube.embedded import commands
from outrider.kube.embedded.layout import Layout
from outrider.kube.embedded.network import Network
from outrider.kube.embedded.ports import Ports

LAYOUT = Layout(Path("/data"))
PORTS = Ports(etcd_client=15001, etcd_peer=15002, apiserver=15003)
PORTS_WITH_CALLBACK = {"etcd_client": 15001, "etcd_peer": 15002, "apiserver": 15003, "callback": 15004}
BINARY = Path("/bin/outrider-kube")


def flags(command: commands.Command) -> dict[str, str]:
    return dict(argument.removeprefix("--").split("=", 1) for argument in command.argv[2:])


@pytest.mark.parametrize(("durable", "unsafe"), [(True, "false"), (False, "true")])
def test_only_a_durable_etcd_waits_for_the_disk(durable: bool, unsafe: str) -> None:
    assert flags(commands.etcd(BINARY, LAYOUT, PORTS, durable=durable))["unsafe-no-fsync"] == unsafe


def test_etcd_asks_clients_and_peers_for_certificates_on_loopback() -> None:
    given = flags(commands.etcd(BINARY, LAYOUT, PORTS, durable=True))
    assert given["client-cert-auth"] == given["peer-client-cert-auth"] == "true"
    assert given["listen-client-urls"] == "https://127.0.0.1:15001"
    assert given["listen-peer-urls"] == "https://127.0.0.1:15002"


def test_the_api_server_knows_rbac_and_no_anonymous() -> None:
    given = flags(commands.apiserver(BINARY, LAYOUT, PORTS))
    assert (given["authorization-mode"], given["anonymous-auth"]) == ("RBAC", "false")
    assert (given["bind-address"], given["profiling"]) == ("127.0.0.1", "false")
    assert given["client-ca-file"] != given["requestheader-client-ca-file"]


def test_an_api_server_proves_itself_to_the_webhooks_of_its_callee_and_to_no_other() -> None:
    plain = flags(commands.apiserver(BINARY, LAYOUT, PORTS))
    assert "admission-control-config-file" not in plain
    given = flags(commands.apiserver(BINARY, LAYOUT, PORTS, callee="x.y.svc"))
    files = commands.admission_files(LAYOUT, Ports(**PORTS_WITH_CALLBACK), "x.y.svc")
    configuration = json.loads(files[Path(given["admission-control-config-file"])])
    path = configuration["plugins"][0]["configuration"]["kubeConfigFile"]
    users = json.loads(files[Path(path)])["users"]
    bundle = "/data/pki/front-proxy.pem"
    assert users == [{"name": "x.y.svc:15004", "user": {"client-certificate": bundle, "client-key": bundle}}]


def test_an_api_server_for_nodes_advertises_itself_and_proves_itself_to_them() -> None:
    given = flags(commands.apiserver(BINARY, LAYOUT, PORTS, Network("10.244.0.1", nodes=True)))
    assert given["bind-address"] == given["advertise-address"] == "10.244.0.1"
    assert given["authorization-mode"] == "Node,RBAC"
    assert "endpoint-reconciler-type" not in given
    assert given["kubelet-client-certificate"] == "/data/pki/kubelet-client.pem"
    assert given["anonymous-auth"] == "false"


def test_nodes_cannot_join_on_loopback() -> None:
    with pytest.raises(ValueError, match=r"nodes cannot join an API server on 127\.0\.0\.1"):
        Network(nodes=True)


def test_the_controller_manager_listens_nowhere_and_runs_what_it_is_told() -> None:
    given = flags(commands.controller_manager(BINARY, LAYOUT, ("a-controller", "b-controller")))
    assert (given["controllers"], given["secure-port"]) == ("a-controller,b-controller", "0")


def test_the_controller_managers_kubeconfig_holds_paths_and_no_key(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.create()
    text = commands.file_kubeconfig(layout, PORTS, "controller-manager")
    assert b"PRIVATE" not in text
    layout.bundle("controller-manager").write_text("bundle")
    layout.certificate("server-ca").write_text("authority")
    path = tmp_path / "kubeconfig"
    path.write_bytes(text)
    access = kubeconfig.load(path)
    assert (access.server, access.ca_pem) == ("https://127.0.0.1:15003", b"authority")
    assert access.client_cert_pem == access.client_key_pem == b"bundle"
