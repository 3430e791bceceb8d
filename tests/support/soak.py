"""Mixed load on an instance for a long time, and what its processes weigh meanwhile."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from tests.support.door import Answer, Door
from tests.support.people import LOGIN, PASSWORD, People
from tests.support.trend import Sample

_ANONYMOUS = re.compile(r"^RssAnon:\s+(\d+) kB$", re.MULTILINE)
_ROW = "x" * 8000

Step = Callable[[], None]


class Unexpected(AssertionError):
    """An answer that the load did not ask for."""


@dataclass
class Weight:
    """What was measured of one process: MB of memory that is its own, and open descriptors."""

    pids: set[int] = field(default_factory=set)
    memory: list[Sample] = field(default_factory=list)
    descriptors: list[Sample] = field(default_factory=list)


class Scales:
    """Weighs processes, found by their role's current process id."""

    def __init__(self, pids: Callable[[], Mapping[str, int]]) -> None:
        self._pids = pids
        self.weights: dict[str, Weight] = {}

    def weigh(self) -> None:
        """Once, all of them; what is being restarted is left out, and shows as another id."""
        now = time.monotonic()
        for role, pid in self._pids().items():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found = _ANONYMOUS.search(Path(f"/proc/{pid}/status").read_text())
                opened = len(os.listdir(f"/proc/{pid}/fd"))
                weight = self.weights.setdefault(role, Weight())
                weight.pids.add(pid)
                weight.memory.append(Sample(now, int(found[1]) / 1024 if found else 0.0))
                weight.descriptors.append(Sample(now, float(opened)))


class Load:
    """Steps that are repeated side by side, each in its thread, until the block ends."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def add(self, name: str, step: Step, *, pause: float, times: int = 1) -> None:
        """Repeats `step` with `pause` seconds between, in `times` threads."""
        for number in range(times):
            thread = threading.Thread(target=self._repeat, args=(name, step, pause), name=f"{name} {number}")
            self._threads.append(thread)

    def _repeat(self, name: str, step: Step, pause: float) -> None:
        while not self._stop.wait(pause):
            try:
                step()
            except (AssertionError, OSError, http.client.HTTPException) as error:
                self.failures.append(f"{name}: {type(error).__name__}: {error}"[:300])
            else:
                self.done[name] += 1

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


def expect(answer: Answer, *statuses: int) -> Answer:
    """The answer, when it has one of these statuses."""
    if answer.status not in statuses:
        raise Unexpected(f"{answer.status}: {answer.body[:200]!r}")
    return answer


# what one cluster is asked for


def fill(door: Door, rows: int = 100) -> None:
    """Makes something to list: about 8 KB each."""
    for number in range(rows):
        body = {"metadata": {"name": f"row-{number}"}, "data": {"row": _ROW}}
        expect(door.post("/api/v1/namespaces/default/configmaps", body), 201, 409)


class Use:
    """What users do with a cluster through `door`. `away`: its agent may be gone at any moment."""

    def __init__(self, door: Door, *, away: bool = False) -> None:
        self._door = door
        self._also = (503,) if away else ()

    def lists(self) -> None:
        """Several over one connection, large and small."""
        with contextlib.closing(self._door.connect()) as connection:
            for path in ("/api/v1/namespaces", "/api/v1/namespaces/default/configmaps", "/version"):
                connection.request("GET", self._door.prefix + path, headers=self._door.headers())
                response = connection.getresponse()
                body = response.read()
                expect(Answer(response.status, response.getheaders(), body), 200, *self._also)

    def writes(self) -> None:
        """Creates, changes and removes an object."""
        path, name = "/api/v1/namespaces/default/configmaps", f"soak-{uuid4().hex[:8]}"
        created = self._door.post(path, {"metadata": {"name": name}, "data": {"a": _ROW}})
        if expect(created, 201, *self._also).status != 201:
            return
        patch = {"Content-Type": "application/merge-patch+json"}
        expect(self._door.request("PATCH", f"{path}/{name}", b'{"data":{"a":"b"}}', patch), 200, *self._also)
        expect(self._door.request("DELETE", f"{path}/{name}"), 200, *self._also)

    def watches(self) -> None:
        """A watch of a few seconds, read to its end."""
        path = "/api/v1/namespaces/default/configmaps?watch=true&timeoutSeconds=4&resourceVersion=0"
        with self._door.stream(path) as response:
            while response.read1(65536):
                pass
            expect(Answer(response.status, [], b""), 200, *self._also)

    def leaves(self) -> None:
        """A list and a watch whose reader goes away in the middle."""
        for path in ("/api/v1/namespaces/default/configmaps", "/api/v1/configmaps?watch=true"):
            with self._door.stream(path) as response:
                expect(Answer(response.status, [], b""), 200, *self._also)
                response.read(1000)

    def knocks(self) -> None:
        """A shell where there is none, in both protocols."""
        path = "/api/v1/namespaces/default/pods/none/exec?command=true&stdout=true"
        socket = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Protocol": "v5.channel.k8s.io",
        }
        expect(self._door.request("GET", path, headers=socket), 404, *self._also)
        spdy = {
            "Connection": "Upgrade",
            "Upgrade": "SPDY/3.1",
            "X-Stream-Protocol-Version": "v4.channel.k8s.io",
        }
        expect(self._door.request("POST", path, b"", spdy), 404, *self._also)


# what the server itself is asked for


class Administration:
    """Sign-ins, tokens, rights and imports. `admin` is the front door, `local` the management cluster behind it."""

    def __init__(self, admin: Door, local: Door) -> None:
        self._admin = admin
        self._local = local
        self._people = People(admin)
        self._person = self._people()

    def drop(self) -> None:
        """Removes the users."""
        self._people.drop()

    def signs_in(self) -> None:
        """A session, a token, its use, its end."""
        credentials = {"username": self._person.username, "password": PASSWORD}
        session = expect(self._admin.with_token("").post(LOGIN, credentials), 201).json()
        door = self._admin.with_token(session["token"])
        token = expect(door.post("/v3/tokens", {"type": "token", "description": "soak"}), 201).json()
        expect(door.with_token(token["token"]).get("/v3/users?me=true"), 200)
        expect(door.request("DELETE", f"/v3/tokens/{token['id']}"), 200, 204)
        expect(door.post("/v3/tokens?action=logout"), 200, 204)

    def changes_roles(self) -> None:
        """Makes the user an administrator and takes it back, which changes what every cluster should hold."""
        path, name = "/apis/management.cattle.io/v3/globalrolebindings", f"soak-{uuid4().hex[:8]}"
        binding = {
            "apiVersion": "management.cattle.io/v3",
            "kind": "GlobalRoleBinding",
            "metadata": {"name": name},
            "globalRoleName": "admin",
            "userName": self._person.name,
        }
        expect(self._local.post(path, binding), 201)
        time.sleep(3)
        expect(self._local.request("DELETE", f"{path}/{name}"), 200)

    def imports(self) -> None:
        """A record, its manifest as an agent would fetch it, and its removal."""
        clusters = "/apis/management.cattle.io/v3/clusters"
        draft = {"metadata": {"generateName": "c-"}, "spec": {"displayName": f"soak-{uuid4().hex[:8]}"}}
        draft["spec"]["importedConfig"] = {}  # type: ignore[assignment]
        made = expect(
            self._local.post(clusters, {"apiVersion": "management.cattle.io/v3", "kind": "Cluster", **draft}),
            201,
        )
        name = made.json()["metadata"]["name"]
        try:
            token = self._token(name)
            manifest = expect(self._admin.with_token("").get(f"/v3/import/{token}_{name}.yaml"), 200)
            assert b"kind: Deployment" in manifest.body
        finally:
            expect(self._local.request("DELETE", f"{clusters}/{name}"), 200)

    def _token(self, cluster: str) -> str:
        path = f"/api/v1/namespaces/{cluster}/secrets/crt-token-default-token"
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            answer = self._local.get(path)
            if answer.status == 200:
                return base64.b64decode(json.loads(answer.body)["data"]["token"]).decode()
            time.sleep(0.2)
        raise Unexpected(f"cluster {cluster} got no registration token within 30 s")


class Pauses:
    """Stops a process so long that the server gives its tunnel up, and lets it go on: a reconnect."""

    def __init__(self, pid: Callable[[], int], seconds: float) -> None:
        self._pid = pid
        self._seconds = seconds

    def once(self) -> None:
        """Once."""
        pid = self._pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(self._seconds)
        finally:
            os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def administration(admin: Door, local: Door) -> Iterator[Administration]:
    """Removes what is left at the end."""
    work = Administration(admin, local)
    try:
        yield work
    finally:
        work.drop()
