"""Where an applier keeps what it has and made: Secrets of at most 512 KB, switched by one small head.

Parts are content-addressed and never change; the head Secret names those that count. A write first adds the
parts that are new, then replaces the head, guarded by its version, then removes what no head names any more. So
there is a whole state at every moment, whoever dies between two writes, and an applier that lost its lease
without noticing cannot replace the head of its successor.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from outrider.delivery.errors import LedgerError, LedgerLost
from outrider.delivery.parts import Groups, digests
from outrider.kube.builtin import SECRETS
from outrider.kube.client import Client
from outrider.kube.errors import AlreadyExists, Conflict, KubeError, NotFound
from outrider.kube.kind import Kind

log = logging.getLogger(__name__)

NAMESPACE: Final = "cattle-system"
HEAD: Final = "outrider-state-head"
LABEL: Final = "outrider.cattle.io/state"
_TERM: Final = "outrider.cattle.io/term"
_WRITERS: Final = 4
_PAGE: Final = 8


class Kept(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True):
    """What the head says.

    Attributes:
        epoch, counter, hash, complete, parts: of the set, as in `tunnel.reports.StateHead`.
        extra: objects beyond the set that may exist: made from templates, or on their way out.
        held: objects that left in a set which was not complete, and stay until one is.
    """

    epoch: int = 0
    counter: int = 0
    hash: str = ""
    complete: bool = False
    parts: Groups = ()
    extra: Groups = ()
    held: Groups = ()

    @property
    def version(self) -> tuple[int, int]:
        """Of the set."""
        return (self.epoch, self.counter)

    def named(self) -> set[str]:
        """Digests of all parts that count."""
        return {digest for groups in (self.parts, self.extra, self.held) for digest in digests(groups)}


class Contents(NamedTuple):
    """What was read: the head, and the compressed parts by digest, of which some may be missing."""

    kept: Kept
    parts: dict[str, bytes]


class _Metadata(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


class _Secret(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    data: dict[str, bytes] = {}


_SECRETS: Final = Kind(group="", version="v1", plural="secrets", kind="Secret", namespaced=True, type=_Secret)
_STORED: Final = Kind(
    group="", version="v1", plural="secrets", kind="Secret", namespaced=True, type=_Secret, metadata_only=True
)
_kept = msgspec.json.Decoder(Kept)


class Ledger:
    """Reads once, then writes; `term` marks what this applier wrote."""

    def __init__(self, client: Client, *, term: int = 0, namespace: str = NAMESPACE) -> None:
        self._client = client
        self._term = term
        self._namespace = namespace
        self._head = _Metadata()
        self._stored: dict[str, _Metadata] = {}

    async def read(self) -> Contents:
        """Everything that is kept. Raises LedgerError when the head is damaged, KubeError."""
        self._head, self._stored = _Metadata(), {}
        head = b""
        parts: dict[str, bytes] = {}
        pages = self._client.pages(_SECRETS, self._namespace, labels=f"{LABEL}=true", limit=_PAGE)
        async for page in pages:
            for secret in page.items:
                if secret.metadata.name == HEAD:
                    self._head = secret.metadata
                    head = secret.data.get("head", b"")
                    continue
                for digest, data in secret.data.items():
                    self._stored[digest] = secret.metadata
                    parts[digest] = data
        if not self._head.name:
            return Contents(Kept(), parts)
        try:
            return Contents(_kept.decode(head), parts)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise LedgerError(
                f"the Secret {self._namespace}/{HEAD} is damaged; delete it, and by hand what is no longer wanted"
            ) from None

    def has(self, kept: Kept) -> bool:
        """Whether every part that `kept` names is stored, as far as is known."""
        return bool(self._head.name) and kept.named() <= self._stored.keys()

    async def write(self, kept: Kept, parts: Mapping[str, bytes]) -> None:
        """Make `kept` count; `parts` holds at least those that it names.

        Raises LedgerLost when somebody else wrote, KubeError.
        """
        named = kept.named()
        await self._add({digest: parts[digest] for digest in named if digest not in self._stored})
        await self._switch(kept)
        await self._collect(named)

    async def verify(self) -> bool:
        """Look for parts that somebody removed; the next `write` adds them. Returns whether all are there."""
        found = await self._client.list(_STORED, self._namespace, labels=f"{LABEL}=true")
        names = {secret.metadata.name for secret in found.items}
        lost = [digest for digest, meta in self._stored.items() if meta.name not in names]
        for digest in lost:
            del self._stored[digest]
        if self._head.name and HEAD not in names:
            self._head = _Metadata()
        return self._head.name == HEAD and not lost

    async def _add(self, parts: Mapping[str, bytes]) -> None:
        slots = asyncio.Semaphore(_WRITERS)

        async def add(digest: str, data: bytes) -> None:
            async with slots:
                stored = await self._client.apply(_STORED, self._part(digest, data))
                self._stored[digest] = stored.metadata

        try:
            async with asyncio.TaskGroup() as group:
                for digest, data in parts.items():
                    group.create_task(add(digest, data))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    def _part(self, digest: str, data: bytes) -> dict[str, Any]:
        # Another term changes the version of a part that is taken up again, so that a late collector of the
        # term before, whose deletion names the version it saw, leaves it alone
        return {
            "metadata": {
                "name": f"outrider-state-{digest[:24]}",
                "namespace": self._namespace,
                "labels": {LABEL: "true"},
                "annotations": {_TERM: str(self._term)},
            },
            "type": "Opaque",
            "immutable": True,
            "data": {digest: base64.b64encode(data).decode()},
        }

    async def _switch(self, kept: Kept) -> None:
        body = base64.b64encode(msgspec.json.encode(kept)).decode()
        metadata: dict[str, Any] = {"name": HEAD, "namespace": self._namespace, "labels": {LABEL: "true"}}
        try:
            answer = await self._patch_head(body) if self._head.name else None
            if answer is None:
                draft = {"metadata": metadata, "type": "Opaque", "data": {"head": body}}
                answer = await self._client.create(_STORED, draft)
        except (Conflict, AlreadyExists) as error:
            raise LedgerLost(f"the Secret {self._namespace}/{HEAD} was written by another: {error}") from None
        self._head = answer.metadata

    async def _patch_head(self, body: str) -> _Secret | None:
        """Replace the head that was seen; None when somebody deleted it."""
        guarded = {"metadata": {"resourceVersion": self._head.resource_version}, "data": {"head": body}}
        try:
            return await self._client.patch(_STORED, HEAD, guarded, self._namespace)
        except NotFound:
            return None

    async def _collect(self, named: set[str]) -> None:
        for digest in [digest for digest in self._stored if digest not in named]:
            meta = self._stored.pop(digest)
            try:
                await self._client.delete(
                    SECRETS,
                    meta.name,
                    self._namespace,
                    uid=meta.uid,
                    resource_version=meta.resource_version,
                )
            except (NotFound, Conflict):
                continue
            except KubeError as error:
                log.debug("cannot remove the Secret %s: %s", meta.name, error)
                self._stored[digest] = meta
