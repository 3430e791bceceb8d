"""What an agent and the server tell each other beside requests: inventory upwards, desired state downwards.

Every message is one JSON object with a ``type`` field, carried in a MESSAGE frame of the tunnel.

An agent process is one *reporter*. It sends its whole `Inventory` when a session opens and whenever the
server asks with `Resync`, then one `InventoryDelta` for each change. Sequence numbers count up by one within
a reporter; `digest` is the `snapshot.Snapshot.digest` after the message was applied. A gap, another reporter
or another digest makes the server ask for everything again, so that no lost message stays unnoticed.

What is large is sent in pieces: all but the last carry ``more``, and nothing is acted upon before the last.
"""

from __future__ import annotations

from typing import Any

import msgspec

MAX_MESSAGE = 4 << 20
"""Bytes of one encoded message at most; `snapshot.pieces` cuts an inventory so that it stays below."""

ResourceList = dict[str, str]
"""Kubernetes quantities by resource name: ``{"cpu": "4", "memory": "8Gi", "pods": "110"}``."""


class ReportError(ValueError):
    """A message that cannot be understood: what is wrong with it, in words for a log."""


class VersionInfo(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True):
    """What ``GET /version`` of the cluster answered (``k8s.io/apimachinery/pkg/version.Info``)."""

    major: str = ""
    minor: str = ""
    git_version: str = ""
    git_commit: str = ""
    git_tree_state: str = ""
    build_date: str = ""
    go_version: str = ""
    compiler: str = ""
    platform: str = ""


class Health(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True):
    """What ``GET /readyz`` of the cluster said: `message` names the failing checks, or the error."""

    ok: bool = True
    message: str = ""


class Usage(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True):
    """Sums of the requests and limits of the pods on one node; keys ``cpu``, ``memory`` and ``pods``."""

    requested: ResourceList = {}
    limits: ResourceList = {}


class NodeReport(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True):
    """A node of the cluster.

    `spec` and `status` are corev1's NodeSpec and NodeStatus as plain JSON. The agent blanks
    ``lastHeartbeatTime`` in the conditions, so that a kubelet's heartbeat is not a change. `status` keeps
    ``images`` (names and sizes).
    """

    name: str
    uid: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    spec: dict[str, Any] = {}
    status: dict[str, Any] = {}


class NamespaceReport(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True):
    """A namespace; `project` is its annotation ``field.cattle.io/projectId`` (``<cluster>:<project>``)."""

    name: str
    project: str = ""
    phase: str = "Active"


class Inventory(
    msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True, tag="inventory"
):
    """Everything the server knows of a cluster, replacing what it knew.

    Attributes:
        reporter: random name of the agent process.
        sequence: number of this message within the reporter, counted from 1.
        digest: of the snapshot after this message.
        more: further pieces follow as deltas; do not act on this one alone.
        hints: product markers that the agent saw: ``harvester``, ``minikube``, ``docker``,
            ``rancherd`` (DaemonSet cattle-system/rancher).
        strict_tls: the agent verifies the server with its own CA only; None when it could not tell.
        usage: by node name.
    """

    reporter: str
    sequence: int
    digest: str
    more: bool = False
    agent_version: str = ""
    version: VersionInfo | None = None
    health: Health | None = None
    strict_tls: bool | None = None
    hints: list[str] = []
    nodes: list[NodeReport] = []
    usage: dict[str, Usage] = {}
    namespaces: list[NamespaceReport] = []


class InventoryDelta(
    msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True, tag="inventoryDelta"
):
    """What changed since the message before. What is None or empty did not change."""

    reporter: str
    sequence: int
    digest: str
    more: bool = False
    version: VersionInfo | None = None
    health: Health | None = None
    strict_tls: bool | None = None
    hints: list[str] | None = None
    nodes: list[NodeReport] = []
    nodes_removed: list[str] = []
    usage: dict[str, Usage] = {}
    namespaces: list[NamespaceReport] = []
    namespaces_removed: list[str] = []


class Failure(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True):
    """One desired object that could not be applied, and why."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""
    message: str = ""


class StateReport(
    msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True, tag="stateReport"
):
    """How far the agent is with the desired state of version (`epoch`, `counter`)."""

    epoch: int
    counter: int
    applied: int = 0
    pruned: int = 0
    failures: list[Failure] = []


class Resync(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True, tag="resync"):
    """Send the whole inventory again, because of `reason`."""

    reason: str = ""


class DesiredState(
    msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True, tag="desiredState"
):
    """All objects that the server wants in the cluster.

    The version is (`epoch`, `counter`), the epoch being the leader's: an agent ignores an older one than it
    has applied. Objects that an earlier version held and this one does not are pruned; when more than half
    of them, or all, would go, only if `complete`.
    """

    epoch: int
    counter: int
    objects: list[dict[str, Any]] = []
    complete: bool = False


AgentMessage = Inventory | InventoryDelta | StateReport
ServerMessage = Resync | DesiredState

_encoder = msgspec.json.Encoder()
_from_agent: msgspec.json.Decoder[AgentMessage] = msgspec.json.Decoder(AgentMessage)
_from_server: msgspec.json.Decoder[ServerMessage] = msgspec.json.Decoder(ServerMessage)


def encode(message: AgentMessage | ServerMessage) -> bytes:
    """The message as JSON."""
    return _encoder.encode(message)


def decode_agent_message(data: bytes | memoryview | msgspec.Raw) -> AgentMessage:
    """What an agent sent. Raises `ReportError` for anything else."""
    try:
        return _from_agent.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReportError(f"not a message that an agent sends: {error}") from None


def decode_server_message(data: bytes | memoryview | msgspec.Raw) -> ServerMessage:
    """What the server sent. Raises `ReportError` for anything else."""
    try:
        return _from_server.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReportError(f"not a message that a server sends: {error}") from None
