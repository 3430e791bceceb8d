"""What an agent and the server tell each other beside requests: inventory upwards, desired state downwards.

Every message is one JSON object with a ``type`` field, carried in a MESSAGE frame of the tunnel.

An agent process is one *reporter*. It sends its whole `Inventory` when a session opens and whenever the
server asks with `Resync`, then one `InventoryDelta` for each change. Sequence numbers count up by one within
a reporter; `digest` is the `snapshot.Snapshot.digest` after the message was applied. A gap, another reporter
or another digest makes the server ask for everything again, so that no lost message stays unnoticed.

What is large is sent in pieces: all but the last carry ``more``, and nothing is acted upon before the last.

Desired state: an agent opens with `StateHello`; the server answers with `StateHead` when it wants something
else than the agent has, and again at each change. The agent asks with `StateNeed` for the parts that it lacks,
a few at a time, and gets one `StatePart` for each; `StateReport` tells what came of it.

The end: `StateGone` orders the agent to take away everything that it made, itself included; `Removal` tells how far
that is. An agent that dials after its cluster's record is gone gets a `StateGone` as the body of the refusal.

Either side may be newer: fields that are not known are skipped, types that are not known are ignored, and what
both must agree on goes by the highest protocol in `StateHello.protocols` that the server knows, too.
"""

from __future__ import annotations

from typing import Any, TypeVar, get_args

import msgspec

MAX_MESSAGE = 4 << 20
"""Bytes of one encoded message at most; `snapshot.pieces` cuts an inventory so that it stays below."""

ResourceList = dict[str, str]
"""Kubernetes quantities by resource name: ``{"cpu": "4", "memory": "8Gi", "pods": "110"}``."""


PROTOCOLS = (1,)
"""Ways of handing over the desired state that this version speaks."""


class ReportError(ValueError):
    """A message that cannot be understood: what is wrong with it, in words for a log."""


class UnknownMessage(ReportError):
    """A type of message that this version does not know: to be ignored."""


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


class OwnerState(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True):
    """How far the objects of one feature are: `message` is the first failure."""

    name: str
    applied: int = 0
    failed: int = 0
    message: str = ""


class ShareState(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True):
    """What the namespaces of a project were given of what it has (quantities by name), and some that were refused."""

    project: str
    used: dict[str, str] = {}
    refused: list[str] = []


class StateHello(
    msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True, tag="stateHello"
):
    """An agent's first word on the desired state: what it speaks, and what it holds. No hash: nothing whole."""

    protocols: tuple[int, ...] = PROTOCOLS
    epoch: int = 0
    counter: int = 0
    hash: str = ""


class StateNeed(
    msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True, tag="stateNeed"
):
    """The agent lacks these parts of the set `hash`; it asks for a few at a time."""

    hash: str
    parts: tuple[str, ...]


class StateReport(
    msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True, tag="stateReport"
):
    """How far the agent is with the desired state of version (`epoch`, `counter`), sent when that changed.

    Attributes:
        hash: of the set.
        term, sequence: order of reports: the term of the replica that applies, and a count within it.
        applied, failed: objects of the set, those made from templates included.
        pending: objects that were not tried yet.
        failures: some of what failed.
        owners: the same by feature.
        shares: what was given of each project's totals.
        leaving: projects that are no more and have namespaces yet.
        image, version: of the agent that applies; no image: it was not started by its Deployment.
    """

    epoch: int
    counter: int
    hash: str = ""
    term: int = 0
    sequence: int = 0
    applied: int = 0
    failed: int = 0
    pending: int = 0
    pruned: int = 0
    failures: list[Failure] = []
    owners: list[OwnerState] = []
    shares: list[ShareState] = []
    leaving: list[str] = []
    image: str = ""
    version: str = ""


class Removal(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True, tag="removal"):
    """How far the agent is with taking away what was made in its cluster.

    Attributes:
        remaining: objects that are still to be taken away.
        left: some of those that cannot be, or are kept for a reason, each with that reason.
        done: nothing more is done; what `left` names stays.
    """

    remaining: int = 0
    left: list[str] = []
    done: bool = False


class Resync(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True, tag="resync"):
    """Send the whole inventory again, because of `reason`."""

    reason: str = ""


class StateHead(
    msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True, tag="stateHead"
):
    """What the server wants in the cluster, by digest.

    The version is (`epoch`, `counter`), the epoch being that of the leader which stamped it; an agent refuses
    an older one than it holds. Objects that an earlier version held and this one does not are pruned; when
    more than half of them, or all, would go, only if `complete`. `parts` are groups of SHA-256 digests in
    hex: the parts of a group, one after the other, are a JSON array of entries.
    """

    epoch: int
    counter: int
    hash: str
    complete: bool = False
    parts: tuple[tuple[str, ...], ...] = ()

    @property
    def version(self) -> tuple[int, int]:
        """Grows with every desired state."""
        return (self.epoch, self.counter)


class StatePart(
    msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True, tag="statePart"
):
    """A part that was asked for, compressed (zlib)."""

    digest: str
    data: bytes


class StateGone(
    msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True, tag="stateGone"
):
    """The cluster was deleted on the server: remove everything that was made, and the agent itself.

    `proof` is there in a refusal only, see `farewell`; through a tunnel the tunnel itself is proof.
    """

    reason: str = ""
    proof: str = ""


class Hello(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True, tag="hello"):
    """Which replica of the server a tunnel leads to, and the ids of all that live, this one among them.

    It comes first on a new tunnel, and again when a replica comes or goes. The agent keeps one tunnel to each;
    `spread` is the seconds over which agents shall spread their dials for another one.
    """

    replica: str
    replicas: tuple[str, ...] = ()
    spread: float = 0.5


AgentMessage = Inventory | InventoryDelta | StateHello | StateNeed | StateReport | Removal
ServerMessage = Hello | Resync | StateHead | StatePart | StateGone

T = TypeVar("T")


def _tags(union: Any) -> frozenset[str]:
    return frozenset(str(member.__struct_config__.tag) for member in get_args(union))


_encoder = msgspec.json.Encoder()
_from_agent: msgspec.json.Decoder[AgentMessage] = msgspec.json.Decoder(AgentMessage)
_from_server: msgspec.json.Decoder[ServerMessage] = msgspec.json.Decoder(ServerMessage)


def encode(message: AgentMessage | ServerMessage) -> bytes:
    """The message as JSON."""
    return _encoder.encode(message)


def decode_agent_message(data: bytes | memoryview | msgspec.Raw) -> AgentMessage:
    """What an agent sent. Raises `ReportError` for anything else, `UnknownMessage` for what may be ignored."""
    return _decode(_from_agent, _AGENT_TYPES, data, "not a message that an agent sends")


def decode_server_message(data: bytes | memoryview | msgspec.Raw) -> ServerMessage:
    """What the server sent. Raises `ReportError` for anything else, `UnknownMessage` for what may be ignored."""
    return _decode(_from_server, _SERVER_TYPES, data, "not a message that a server sends")


def type_of(data: bytes | memoryview | msgspec.Raw) -> str:
    """The type of a message, without reading the rest; empty when it has none."""
    try:
        return _typed.decode(data).type
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


class _Typed(msgspec.Struct):
    type: str = ""


_typed = msgspec.json.Decoder(_Typed)
_AGENT_TYPES = _tags(AgentMessage)
_SERVER_TYPES = _tags(ServerMessage)


def _decode(
    decoder: msgspec.json.Decoder[T], known: frozenset[str], data: bytes | memoryview | msgspec.Raw, what: str
) -> T:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        kind = type_of(data)
        if kind and kind not in known:
            raise UnknownMessage(f"a message of type {kind[:40]!r}") from None
        raise ReportError(f"{what}: {error}") from None
