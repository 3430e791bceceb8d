"""What control and gateway say to each other.

Every message is a tagged struct: its JSON form carries `type`, so that one decoder reads them all. Messages
from a tunnel travel as raw JSON: neither end of the link parses what only an agent and a controller
understand. Whatever holds a credential or a key keeps it out of its `repr`.
"""

from typing import Any

import msgspec

from outrider.kube.identity import Identity

CLAIM_HEADER = "x-outrider-claim"
"""Header with a `Claim`; set by the gateway alone, which strips what clients send under `x-outrider-`."""

CLUSTER_HEADER = "x-outrider-cluster"
"""Header with a cluster's id on a request that one replica forwards to another."""

PEER_GROUP = "outrider:replicas"
"""O in the certificates of replicas."""


class _Message(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True, frozen=True):
    """Common shape of all messages."""


class Resolve(_Message, tag="resolve", frozen=True):
    """Gateway asks: who is this, and may it reach the cluster?

    `credential` is the raw value of `Authorization`, or `Bearer <cookie>` for the cookie `R_SESS`; empty when
    the request has none. `cluster` is the id in `/k8s/clusters/<id>`, `/k8s/proxy/<id>` and
    `/v3/cluster(s)/<id>`, which is what a token's scope is compared with; empty elsewhere. `host` is the
    `Host` the client used (extra `requesthost`), `remote` its address without port.
    """

    id: int
    credential: str
    cluster: str = ""
    host: str = ""
    remote: str = ""

    def __repr__(self) -> str:
        return f"Resolve(id={self.id}, cluster={self.cluster!r}, remote={self.remote!r})"


class Verdict(_Message, tag="verdict", frozen=True):
    """Control answers a `Resolve`.

    `status` is 200, 401, 404, 429 or 503; only 200 carries an identity. `token` and `user` name what an
    `Invalidate` may end. `ttl` is in seconds. For 429 it is also the time to wait. `code` and `message` are
    those of the error body (contract, auth-and-rbac §0.1).
    """

    id: int
    status: int
    identity: Identity | None = None
    token: str = ""
    user: str = ""
    generation: int = 0
    ttl: float = 0.0
    code: str = ""
    message: str = ""


class Admit(_Message, tag="admit", frozen=True):
    """Gateway asks whether an agent may register a tunnel; `params` is what it sent about its cluster."""

    id: int
    token: str
    params: dict[str, Any] = {}
    remote: str = ""
    agent_version: str = ""

    def __repr__(self) -> str:
        return f"Admit(id={self.id}, remote={self.remote!r}, agent_version={self.agent_version!r})"


class Admission(_Message, tag="admission", frozen=True):
    """Control answers an `Admit`: 200 with the cluster and the name of the registration that let it in."""

    id: int
    status: int
    cluster: str = ""
    registration: str = ""
    message: str = ""


class SessionOpened(_Message, tag="sessionOpened", frozen=True):
    """A tunnel is up. `session` is unique for the life of this gateway process, from 1."""

    cluster: str
    session: int
    registration: str = ""
    remote: str = ""
    agent_version: str = ""


class SessionClosed(_Message, tag="sessionClosed", frozen=True):
    """A tunnel is gone, and why."""

    cluster: str
    session: int
    reason: str = ""


class FromAgent(_Message, tag="fromAgent", frozen=True):
    """A control message that an agent sent through its tunnel, unparsed."""

    cluster: str
    session: int
    body: msgspec.Raw


class ToAgent(_Message, tag="toAgent", frozen=True):
    """A control message for a cluster's agent; session 0 means every session of that cluster."""

    cluster: str
    body: msgspec.Raw
    session: int = 0


class CloseSessions(_Message, tag="closeSessions", frozen=True):
    """Close the tunnels of a cluster; those of one registration only when that is not empty."""

    cluster: str
    registration: str = ""
    reason: str = ""


class Beat(_Message, tag="beat", frozen=True):
    """Sent every second; its absence for 5 s ends all verdicts."""

    generation: int


class Invalidate(_Message, tag="invalidate", frozen=True):
    """Verdicts of these tokens and users, or all, computed before `generation` are void.

    Streams that stand on a void verdict are resolved anew; one whose answer is no longer 200, or another
    identity, ends. So a change that takes nothing from anybody cuts nobody off.
    """

    generation: int
    tokens: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    everything: bool = False


class Serve(_Message, tag="serve", frozen=True):
    """TLS material of the front door, PEM text; sent again when it changes."""

    certificate: str
    key: str
    ca: str = ""

    def __repr__(self) -> str:
        return "Serve(…)"


class PeerMaterial(_Message, tag="peerMaterial", frozen=True):
    """Certificate and key by which replicas know each other, PEM text, and the authority that issues only such."""

    certificate: str
    key: str
    ca: str

    def __repr__(self) -> str:
        return "PeerMaterial(…)"


class Peer(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True, frozen=True):
    """Another live replica: `address` is HOST:PORT of its gateway's door for peers, "" when it has none."""

    replica: str
    address: str = ""
    clusters: tuple[str, ...] = ()


class Peers(_Message, tag="peers", frozen=True):
    """Control says which replica this is, and which others live with the clusters whose tunnels they hold.

    Sent when a gateway connects, and whenever something of it changes.
    """

    replica: str
    others: tuple[Peer, ...] = ()


class PeerDoor(_Message, tag="peerDoor", frozen=True):
    """Gateway says where it lets other replicas in: HOST:PORT."""

    address: str


class Counters(_Message, tag="counters", frozen=True):
    """Gateway's figures for `/metrics`: sample (`name` or `name{label="value"}`) → value since its start."""

    values: dict[str, float]


Message = (
    Resolve
    | Verdict
    | Admit
    | Admission
    | SessionOpened
    | SessionClosed
    | FromAgent
    | ToAgent
    | CloseSessions
    | Beat
    | Invalidate
    | Serve
    | PeerMaterial
    | Peers
    | PeerDoor
    | Counters
)


class Claim(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True, frozen=True):
    """Who makes a request that the gateway hands to control, in the header `CLAIM_HEADER`.

    Without an identity the request is anonymous; `code` and `message` then say what was wrong with the
    credential, if there was one. `remote`, `scheme` and `host` are the client's, as the gateway trusts them.
    """

    identity: Identity | None = None
    token: str = ""
    user: str = ""
    code: str = ""
    message: str = ""
    remote: str = ""
    scheme: str = "https"
    host: str = ""
