"""Where a gateway listens for peers, and what they are told."""

from __future__ import annotations

import pytest

from outrider.gateway.config import PeerAddress
from outrider.server.reach import is_unspecified, peer_address, source_address


def nowhere() -> str:
    raise AssertionError("nobody asked")


@pytest.mark.parametrize(
    ("given", "front", "pod_ip", "expected"),
    [
        (None, "127.0.0.1", "10.0.0.9", PeerAddress("127.0.0.1", "127.0.0.1")),
        (None, "::1", "", PeerAddress("::1", "::1")),
        (None, "0.0.0.0", "10.0.0.9", PeerAddress("0.0.0.0", "10.0.0.9")),
        (None, "::", "fd00::9", PeerAddress("::", "fd00::9")),
        (("10.0.0.5", 8444), "0.0.0.0", "10.0.0.9", PeerAddress("0.0.0.0", "10.0.0.5", 8444)),
        (("peers.example.org", 8444), "::", "", PeerAddress("::", "peers.example.org", 8444)),
        (("10.2.2.2", 8444), "10.1.1.1", "", PeerAddress("10.2.2.2", "10.2.2.2", 8444)),
    ],
)
def test_peer_address(given: tuple[str, int] | None, front: str, pod_ip: str, expected: PeerAddress) -> None:
    assert peer_address(given, front, pod_ip=pod_ip, source=nowhere) == expected


def test_without_any_hint_it_is_the_machines_own_towards_the_management_cluster() -> None:
    assert peer_address(None, "0.0.0.0", pod_ip="", source=lambda: "192.0.2.7") == PeerAddress(
        "0.0.0.0", "192.0.2.7"
    )
    assert source_address("https://127.0.0.1:6443") == "127.0.0.1"
    assert source_address("https://[::1]") == "::1"


def test_names_are_specified() -> None:
    assert not is_unspecified("localhost")
    assert is_unspecified("::")
