"""What people do in pods, through Outrider, with a kubectl that speaks WebSocket and one that speaks SPDY only."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from outrider.kube import kubeconfig
from tests.support.kubectl import Kubectl
from tests.support.terminal import Terminal

MakePod = Callable[..., str]
COUNTING = "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.1; done"


NEGOTIATED = {True: "Upgrade: SPDY/3.1", False: "Upgrade: websocket"}


def test_each_kubectl_speaks_its_own_protocol(kubectl: Kubectl, shell: str) -> None:
    """A new one falls back to SPDY by itself when WebSocket fails, which the other tests would not notice."""
    done = kubectl.attempt("exec", "-v=8", shell, "--", "true")
    assert done.returncode == 0
    assert NEGOTIATED[is_old(kubectl)] in done.stderr
    assert NEGOTIATED[not is_old(kubectl)] not in done.stderr
    assert "fallback" not in done.stderr.lower()


def test_ports_are_forwarded_in_its_own_protocol(kubectl: Kubectl, shell: str) -> None:
    with kubectl.background("port-forward", "-v=8", f"pod/{shell}", ":9") as forwarding:
        forwarding.line(NEGOTIATED[is_old(kubectl)])
        forwarding.line("Forwarding from 127.0.0.1:")


def test_logs(kubectl: Kubectl, make_pod: MakePod) -> None:
    name = make_pod(command=("sh", "-c", "seq 1 5000; sleep 1000"))
    expected = "".join(f"{number}\n" for number in range(1, 5001))
    assert kubectl("logs", name) == expected
    assert kubectl("logs", name, "--tail=2") == "4999\n5000\n"


def test_logs_that_are_followed(kubectl: Kubectl, make_pod: MakePod, direct: Kubectl) -> None:
    name = make_pod(command=("sh", "-c", COUNTING))
    with kubectl.background("logs", "--follow", name) as following:
        following.line("line 1")
        following.line("line 20", seconds=20)
        direct("delete", "pod", name)
        assert following.ended(30) == 0


def test_the_exit_code_and_both_outputs_of_a_command(kubectl: Kubectl, shell: str) -> None:
    done = kubectl.attempt("exec", shell, "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert done.stdout == "out\n"
    assert done.stderr.startswith("err\n")
    assert done.returncode == 7


def test_input_that_ends(kubectl: Kubectl, shell: str) -> None:
    """The end of the input reaches the command, and its answer still comes back: half-close."""
    assert (
        kubectl("exec", "--stdin", shell, "--", "sh", "-c", "cat; echo done", stdin="a\nb\n")
        == "a\nb\ndone\n"
    )


def test_no_such_command(kubectl: Kubectl, shell: str) -> None:
    done = kubectl.attempt("exec", shell, "--", "/nowhere")
    assert done.returncode != 0
    assert "no such file" in done.stderr


def test_a_shell_at_a_terminal(kubectl: Kubectl, shell: str) -> None:
    command = kubectl.command("exec", "--stdin", "--tty", shell, "--", "sh")
    with Terminal(command, kubectl.environment(), rows=33, columns=111) as terminal:
        terminal.expect("# ")
        terminal.type("stty size\n")
        terminal.expect("33 111")
        terminal.resize(44, 122)
        terminal.expect("# ")
        # The new size travels beside the input: it may arrive later than what is typed next.
        terminal.type("until [ \"$(stty size)\" = '44 122' ]; do sleep 0.1; done; echo resi''zed\n")
        terminal.expect("resized")
        # Not before it runs: a shell that is about to start it swallows the interrupt.
        terminal.type("echo star''ted; sleep 1000\n")
        terminal.expect("started")
        terminal.type("\x03")
        terminal.expect("# ")
        terminal.type("exit 3\n")
        assert terminal.ended() == 3


def test_attaching_to_a_running_program(kubectl: Kubectl, make_pod: MakePod) -> None:
    echoing = 'echo ready; while read line; do echo "got $line"; done; echo ended; sleep 1000'
    name = make_pod(command=("sh", "-c", echoing), stdin=True, tty=True)
    command = kubectl.command("attach", "--stdin", "--tty", name)
    with Terminal(command, kubectl.environment()) as terminal:
        terminal.expect("If you don't see a command prompt, try pressing enter.")
        terminal.type("hello\n")
        terminal.expect("got hello")
        terminal.type("again\n")
        terminal.expect("got again")
        terminal.type("\x04")
        terminal.expect("ended")


@pytest.fixture(scope="module")
def blob(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("blob") / "blob"
    path.write_bytes(os.urandom(5 << 20))
    return path


def test_copying_files_there_and_back(kubectl: Kubectl, shell: str, blob: Path, tmp_path: Path) -> None:
    place = f"/tmp/{tmp_path.name}"
    kubectl("cp", str(blob), f"{shell}:{place}")
    assert kubectl("exec", shell, "--", "sha256sum", place).split()[0] == digest(blob)
    kubectl("cp", f"{shell}:{place}", str(tmp_path / "back"))
    assert digest(tmp_path / "back") == digest(blob)
    kubectl("exec", shell, "--", "rm", place)


def test_copying_a_folder(kubectl: Kubectl, shell: str, tmp_path: Path) -> None:
    for name in ("a", "b/c"):
        path = tmp_path / "from" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    place = f"/tmp/{tmp_path.name}"
    kubectl("cp", str(tmp_path / "from"), f"{shell}:{place}")
    kubectl("cp", f"{shell}:{place}", str(tmp_path / "to"))
    assert {
        str(path.relative_to(tmp_path / "to")) for path in (tmp_path / "to").rglob("*") if path.is_file()
    } == {
        "a",
        "b/c",
    }


def test_forwarded_ports(kubectl: Kubectl, make_pod: MakePod, blob: Path, tmp_path: Path) -> None:
    serving = "mkdir /tmp/www; echo hello >/tmp/www/hello; httpd -f -p 8080 -h /tmp/www"
    name = make_pod(command=("sh", "-c", serving))
    kubectl("cp", str(blob), f"{name}:/tmp/www/blob")
    with kubectl.background("port-forward", f"pod/{name}", ":8080") as forwarding:
        port = forwarding.line("Forwarding from 127.0.0.1:").partition("127.0.0.1:")[2].split()[0]
        url = f"http://127.0.0.1:{port}"
        for _ in range(5):
            assert fetched(kubectl, f"{url}/hello") == b"hello\n"
        # One after the other: several at once stall now and then, without Outrider as well (SPDY to containerd 1.6).
        for _ in range(3):
            assert hashlib.sha256(fetched(kubectl, f"{url}/blob")).hexdigest() == digest(blob)


def test_a_port_that_nobody_listens_on(kubectl: Kubectl, shell: str) -> None:
    with kubectl.background("port-forward", f"pod/{shell}", ":9") as forwarding:
        port = forwarding.line("Forwarding from 127.0.0.1:").partition("127.0.0.1:")[2].split()[0]
        with fetching(kubectl, f"http://127.0.0.1:{port}/") as process:
            process.communicate(timeout=60)
            assert process.returncode != 0
        assert "connection refused" in forwarding.line("orwarding port 9 to pod")


def test_draining_a_node(kubectl: Kubectl, make_pod: MakePod, direct: Kubectl) -> None:
    """Cordon, evictions, waiting for the end: of one pod, for the agent lives on this node too."""
    name = make_pod(labels={"drained": "yes"})
    try:
        said = kubectl("drain", "node-1", "--pod-selector=drained=yes", "--force", "--ignore-daemonsets")
        assert f"pod/{name} evicted" in said
        assert direct.json("get", "node", "node-1")["spec"]["unschedulable"] is True
        assert direct.attempt("get", "pod", name).returncode == 1
    finally:
        kubectl("uncordon", "node-1")


@pytest.mark.parametrize("path", ["metrics/resource", "stats/summary", "metrics/cadvisor", "healthz"])
def test_what_the_kubelet_tells(kubectl: Kubectl, shell: str, path: str) -> None:
    answer = kubectl("get", "--raw", raw(kubectl, f"/api/v1/nodes/node-1/proxy/{path}"))
    expected = {"healthz": "ok", "stats/summary": '"nodeName"'}.get(path, "# TYPE ")
    assert expected in answer


def test_a_pod_behind_the_proxy_of_the_api_server(kubectl: Kubectl, make_pod: MakePod) -> None:
    name = make_pod(command=("sh", "-c", "echo served >/tmp/f; httpd -f -p 8080 -h /tmp"))
    path = f"/api/v1/namespaces/default/pods/{name}:8080/proxy/f"
    assert kubectl("get", "--raw", raw(kubectl, path)) == "served\n"


def raw(kubectl: Kubectl, path: str) -> str:
    """The path to ask for: an old kubectl takes it as that of the whole server, not as one below its cluster."""
    return urlsplit(kubeconfig.load(kubectl.config).server).path + path if is_old(kubectl) else path


def is_old(kubectl: Kubectl) -> bool:
    minor: str = kubectl.json("version", "--client")["clientVersion"]["minor"]
    return minor.startswith("20")


def fetching(kubectl: Kubectl, url: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*kubectl.within, "curl", "-sS", "--max-time", "50", url], stdout=subprocess.PIPE)


def fetched(kubectl: Kubectl, url: str) -> bytes:
    with fetching(kubectl, url) as process:
        data, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        return data


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
