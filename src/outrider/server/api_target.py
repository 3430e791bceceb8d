"""Where the management cluster's API server calls a replica."""

from __future__ import annotations

from typing import Any

import msgspec


class Target(msgspec.Struct, frozen=True):
    """A Service behind which the API server finds us, as webhooks and APIServices name it."""

    name: str
    namespace: str
    port: int

    @property
    def host(self) -> str:
        """What the API server expects in the certificate."""
        return f"{self.name}.{self.namespace}.svc"

    def to_json(self) -> dict[str, Any]:
        """A ServiceReference; webhooks add a path."""
        return {"name": self.name, "namespace": self.namespace, "port": self.port}


class ApiDoorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The door that the API server calls at, for admission and for the aggregated API.

    It listens at `listen` and `port`, a free one when that is 0. `service` leads to the doors of all replicas;
    without one, ours leads to the leader's, at `host` (`listen` when empty). `proven` says that the API server shows
    its certificate to admission webhooks, too: nobody else is heard then.
    """

    listen: str = "127.0.0.1"
    port: int = 0
    host: str = ""
    service: Target | None = None
    proven: bool = False


def named_service(text: str) -> Target:
    """`namespace/name:port` as a target. Raises ValueError."""
    path, _, port = text.rpartition(":")
    namespace, _, name = path.partition("/")
    if not (namespace and name and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"{text!r} is not NAMESPACE/NAME:PORT, for example cattle-system/outrider-api:443")
    return Target(name, namespace, int(port))
