"""Kubeconfigs: the contract's shape, and any display name."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.apis.management.agent_deployment import LocalClusterAuthEndpoint
from outrider.apis.management.cluster import Cluster
from outrider.apis.management.cluster_spec import ClusterSpec
from outrider.apis.management.cluster_status import ClusterStatus
from outrider.apis.management.node import Node, NodeSpec, NodeStatus
from outrider.features.clusters.endpoints import endpoints
from outrider.features.clusters.kubeconfigs import Endpoint, Target, context_names, kubeconfig
from outrider.kit import yaml

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"


URL = "https://rancher.example.com/x"


def made(*, cacerts: str = "", **changes: Any) -> Any:
    given: dict[str, Any] = {"cluster": "c-abcde", "name": "prod", "token": "kubeconfig-user-a:s"}
    return yaml.load(kubeconfig([Target(**(given | changes))], server_url=URL, cacerts=cacerts))


def test_shape() -> None:
    assert made() == {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "prod", "cluster": {"server": "https://rancher.example.com/k8s/clusters/c-abcde"}}
        ],
        "users": [{"name": "prod", "user": {"token": "kubeconfig-user-a:s"}}],
        "contexts": [{"name": "prod", "context": {"user": "prod", "cluster": "prod"}}],
        "current-context": "prod",
    }


def test_ca_only_when_there_is_one() -> None:
    data = made(cacerts=PEM)["clusters"][0]["cluster"]["certificate-authority-data"]
    assert base64.b64decode(data).decode() == PEM + "\n"
    assert "certificate-authority-data" not in made(cacerts="\n")["clusters"][0]["cluster"]


def test_without_a_token_the_user_is_a_plug_in_call() -> None:
    assert made(token="")["users"][0]["user"] == {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1beta1",
            "command": "rancher",
            "args": ["token", "--server=rancher.example.com", "--user=prod"],
        }
    }
    scoped = made(token="", endpoints=(Endpoint(name="fqdn", server="https://x"),))
    assert scoped["users"][0]["user"]["exec"]["args"][-1] == "--cluster=c-abcde"


def test_further_endpoints_are_further_contexts() -> None:
    config = made(endpoints=(Endpoint(name="fqdn", server="https://k.example", ca=PEM),))
    assert [c["name"] for c in config["contexts"]] == ["prod", "prod-fqdn"]
    assert config["contexts"][1]["context"] == {"user": "prod", "cluster": "prod-fqdn"}
    assert config["clusters"][1]["cluster"]["server"] == "https://k.example"
    assert config["current-context"] == "prod"


def test_several_clusters_share_a_document() -> None:
    way = Endpoint(name="fqdn", server="https://k.example", ca=PEM)
    targets = [
        Target(cluster="", name="rancher", token="a:b"),
        Target(cluster="c-1", name="prod", token="a:b"),
        Target(cluster="c-2", name="prod", token="c:d", endpoints=(way,)),
        Target(cluster="c-3", name="rancher"),
    ]
    text = kubeconfig(targets, server_url=URL, current="c-2", notes=["made by us", "name: x\ny: z"])
    assert text.startswith("# made by us\n# name: x y: z\napiVersion")
    config = yaml.load(text)
    names = ["rancher", "prod", "prod-c-2", "prod-c-2-fqdn", "rancher-c-3"]
    assert [one["name"] for one in config["contexts"]] == context_names(targets) == names
    assert [one["name"] for one in config["clusters"]] == names
    assert config["current-context"] == "prod-c-2"
    assert config["clusters"][0]["cluster"] == {"server": "https://rancher.example.com"}
    assert [one["user"].get("token") for one in config["users"]] == ["a:b", "a:b", "c:d", None]
    assert config["contexts"][3]["context"] == {"user": "prod-c-2", "cluster": "prod-c-2-fqdn"}


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=6))
def test_no_two_contexts_have_one_name(names: list[str]) -> None:
    targets = [Target(cluster=f"c-{i}", name=name, token="t:s") for i, name in enumerate(names)]
    config = yaml.load(kubeconfig(targets, server_url=URL))
    found = [one["name"] for one in config["contexts"]]
    assert len(set(found)) == len(found) == len(names)
    servers = {one["name"]: one["cluster"]["server"].rpartition("/")[2] for one in config["clusters"]}
    assert [servers[name] for name in found] == [target.cluster for target in targets]


@given(st.text(st.characters(codec="utf-8"), max_size=40), st.text(st.characters(codec="utf-8"), max_size=20))
def test_any_name_is_data(name: str, token: str) -> None:
    config = made(name=name, token=token)
    assert config["current-context"] == (name or "c-abcde")
    assert config["users"][0]["name"] == (name or "c-abcde")
    if token:
        assert config["users"][0]["user"] == {"token": token}


def cluster(**endpoint: Any) -> Cluster:
    spec = ClusterSpec(local_cluster_auth_endpoint=LocalClusterAuthEndpoint(**endpoint))
    return Cluster(spec=spec, status=ClusterStatus(ca_cert=base64.b64encode(PEM.encode()).decode()))


def node(name: str, *addresses: tuple[str, str], control_plane: bool = True) -> Node:
    listed = [{"type": kind, "address": address} for kind, address in addresses]
    status = NodeStatus(node_name=name, internal_node_status={"addresses": listed})
    return Node(spec=NodeSpec(control_plane=control_plane), status=status)


def test_authorized_endpoints() -> None:
    nodes = [
        node("b", ("InternalIP", "10.0.0.2"), ("ExternalIP", "192.0.2.2")),
        node("a", ("InternalIP", "fd00::1")),
        node("w", ("InternalIP", "10.0.0.9"), control_plane=False),
        node("odd", ("InternalIP", "evil.example/x?")),
    ]
    assert endpoints(cluster(enabled=False), nodes) == []
    assert endpoints(Cluster(), nodes) == []
    assert endpoints(cluster(enabled=True, fqdn="k.example", ca_certs=PEM), nodes) == [
        Endpoint(name="fqdn", server="https://k.example", ca=PEM)
    ]
    found = endpoints(cluster(enabled=True), nodes)
    assert [(one.name, one.server) for one in found] == [
        ("a", "https://[fd00::1]:6443"),
        ("b", "https://192.0.2.2:6443"),
    ]
    assert all(one.ca == PEM for one in found)


@pytest.mark.parametrize("encoded", ["", "%%%", "/w=="])
def test_a_damaged_ca_is_no_ca(encoded: str) -> None:
    damaged = cluster(enabled=True)
    damaged.status.ca_cert = encoded
    assert endpoints(damaged, [node("a", ("InternalIP", "10.0.0.1"))])[0].ca == ""
