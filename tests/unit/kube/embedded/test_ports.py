import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.kube.embedded import ports
from outrider.kube.embedded.ports import Ports


@pytest.fixture
def listener() -> socket.socket:
    with socket.socket() as server:
        server.bind(("127.0.0.1", ports.free_port()))
        server.listen()
        yield server


def test_remembered_ports_are_kept_while_they_are_free() -> None:
    first = ports.settle(None)
    assert ports.settle(first) == first


def test_only_a_taken_port_is_chosen_anew(listener: socket.socket) -> None:
    remembered = Ports(
        etcd_client=ports.free_port(), etcd_peer=ports.free_port(), apiserver=listener.getsockname()[1]
    )
    settled = ports.settle(remembered)
    assert (settled.etcd_client, settled.etcd_peer) == (remembered.etcd_client, remembered.etcd_peer)
    assert settled.apiserver != remembered.apiserver
    assert ports.is_free(settled.apiserver)


@given(st.lists(st.integers(-1, 70000), min_size=3, max_size=3))
def test_whatever_was_remembered_the_result_is_three_different_free_ports(numbers: list[int]) -> None:
    settled = ports.settle(Ports(etcd_client=numbers[0], etcd_peer=numbers[1], apiserver=numbers[2]))
    chosen = {settled.etcd_client, settled.etcd_peer, settled.apiserver}
    assert len(chosen) == 3
    assert all(ports.is_free(port) for port in chosen)


def test_chosen_ports_lie_below_those_of_outgoing_connections() -> None:
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(15000 <= ports.free_port() < min(low, 32000) for _ in range(50))


def test_no_free_port_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda port, host: False)
    with pytest.raises(ports.NoFreePortError, match=r"no free port on 127\.0\.0\.1"):
        ports.free_port()


def test_saved_ports_come_back(tmp_path: Path) -> None:
    chosen = ports.settle(None)
    ports.save(tmp_path / "ports.json", chosen)
    assert ports.load(tmp_path / "ports.json") == chosen


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"apiserver": "x"}', b'{"apiserver": 1}', b"\xff"])
def test_a_damaged_file_counts_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ports.json").write_bytes(content)
    assert ports.load(tmp_path / "ports.json") is None


def test_no_file_counts_as_none(tmp_path: Path) -> None:
    assert ports.load(tmp_path / "ports.json") is None
