"""The real dispatcher between a client without a socket and scripted backends."""

import asyncio
from inspect import signature
from typing import Any

from outrider.gateway.connection import ClientConnection
from outrider.gateway.dispatch import Dispatcher
from outrider.gateway.exchange import Exchange
from outrider.gateway.forwarding import Forwarding
from outrider.gateway.metrics import Metrics
from outrider.kube.identity import Identity
from outrider.link.messages import Beat, Resolve, Verdict
from tests.support.wire import Script, Wire

TOKEN = b"Bearer kubeconfig-u-alice:secret"
ALICE = Identity("u-alice", ("system:authenticated",))
C1 = b"/k8s/clusters/c-1"


class Tunnels:
    """Clusters and the scripts that answer for them."""

    def __init__(self, scripts: dict[str, Script]) -> None:
        self.scripts = scripts

    def find(self, cluster: str) -> Script | None:
        return self.scripts.get(cluster)


class Ledger:
    """Remembers which exchanges ended."""

    taps = False

    def __init__(self) -> None:
        self.finished: list[Exchange] = []

    def began(self, exchange: Exchange) -> None:
        pass

    def tap(self, exchange: Exchange) -> None:
        return None

    def ended(self, exchange: Exchange) -> None:
        assert exchange not in self.finished, "ended twice"
        self.finished.append(exchange)


class Desk:
    """A dispatcher whose control process is the test: `verdict` is what it says, None for nothing."""

    def __init__(self, **scripts: Script) -> None:
        self.cluster = Script()
        self.scripts = {"c-1": self.cluster, **{k.replace("_", "-"): v for k, v in scripts.items()}}
        self.local = Script()
        self.control = Script()
        self.ledger = Ledger()
        self.asked: list[Resolve] = []
        self.tunnelled: list[Exchange] = []
        self.verdict: Verdict | None = Verdict(
            id=0, status=200, identity=ALICE, token="t-1", user="u-alice", generation=1, ttl=30.0
        )
        self.peers = Tunnels({})
        more: dict[str, Any] = {"peers": self.peers} if "peers" in signature(Dispatcher).parameters else {}
        self.dispatcher = Dispatcher(
            self.ask,
            Tunnels(self.scripts),  # type: ignore[arg-type]
            local=self.local,
            control=self.control,
            tunnel=self._tunnel,
            forwarding=Forwarding(),
            audit=self.ledger,
            metrics=Metrics(),
            **more,
        )
        self.verdicts.on_beat(Beat(generation=1))

    @property
    def verdicts(self) -> Any:
        return self.dispatcher.verdicts

    @property
    def backends(self) -> list[Script]:
        return [*self.scripts.values(), self.local, self.control]

    def ask(self, question: Resolve) -> None:
        self.asked.append(question)
        if self.verdict is not None:
            self.say(self.verdict, question)

    def say(self, verdict: Verdict, question: Resolve | None = None) -> None:
        question = question or self.asked[-1]
        fields = {name: getattr(verdict, name) for name in verdict.__struct_fields__}
        self.verdicts.on_verdict(Verdict(**{**fields, "id": question.id}))

    async def _tunnel(self, exchange: Exchange) -> None:
        self.tunnelled.append(exchange)

    def client(self, *, linger: float = 0.05, scheme: str = "https") -> Wire:
        """A client that has connected."""
        return Wire(ClientConnection(self.dispatcher, scheme=scheme, linger=linger)).connect()


def get(path: bytes = C1 + b"/api", *lines: bytes, method: bytes = b"GET", token: bytes = TOKEN) -> bytes:
    """A request's head."""
    wanted = [b"Host: outrider.test", *([b"Authorization: " + token] if token else []), *lines]
    return method + b" " + path + b" HTTP/1.1\r\n" + b"".join(line + b"\r\n" for line in wanted) + b"\r\n"


def status(answer: bytes) -> int:
    """The status of the first answer in what was written; 0 for none."""
    return int(answer.split(b" ", 2)[1]) if answer else 0


def header(answer: bytes, name: bytes) -> bytes:
    """A header's value in the first answer; empty for none."""
    for line in answer.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        key, _, value = line.partition(b": ")
        if key.lower() == name:
            return value
    return b""


def body(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


async def turn(times: int = 3) -> None:
    """Lets the loop run what is due."""
    for _ in range(times):
        await asyncio.sleep(0)
