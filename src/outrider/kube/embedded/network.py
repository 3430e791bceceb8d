"""Where an embedded API server listens, and whether real nodes join its cluster."""

from __future__ import annotations

from dataclasses import dataclass

from outrider.kube.embedded.ports import LOOPBACK


@dataclass(frozen=True, slots=True)
class Network:
    """The API server's place in a network.

    ``address`` is where it listens and what its certificate names, an IPv4 address of this machine (or of the
    network namespace that it runs in). ``nodes`` says that kubelets join: the address becomes the endpoint of
    the service ``kubernetes``, kubelets are authorized for what is theirs, and the API server proves itself to
    them. That needs an address other than loopback, which Kubernetes refuses as an endpoint.
    """

    address: str = LOOPBACK
    nodes: bool = False

    def __post_init__(self) -> None:
        if self.nodes and self.address.startswith("127."):
            raise ValueError(
                f"nodes cannot join an API server on {self.address}: pods would look for it in themselves; "
                "give it an address of a bridge or of a network card"
            )


ALONE = Network()
"""On loopback, for this machine's own processes."""
