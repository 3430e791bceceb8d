"""The Secret in which the agent keeps what it applied, so that it survives a restart."""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Final

import msgspec

from outrider.agent.errors import StateError
from outrider.agent.plan import LABEL, Record
from outrider.kube.builtin import SECRETS
from outrider.kube.client import Client
from outrider.kube.errors import KubeError
from outrider.tunnel.reports import DesiredState

NAMESPACE: Final = "cattle-system"
NAME: Final = "outrider-desired-state"
MAX_STORED: Final = 512 << 10
_MAX_EXPANDED: Final = 64 << 20

_record = msgspec.json.Decoder(Record)
_state = msgspec.json.Decoder(DesiredState)


class Ledger:
    """Reads and writes the record, and the desired state itself as far as it fits into one Secret."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def read(self) -> tuple[Record, DesiredState | None]:
        """What was kept; an empty record when nothing was. Raises StateError."""
        try:
            secret = await self._client.get_or_none(SECRETS, NAME, NAMESPACE)
        except KubeError as error:
            raise StateError(f"cannot read the Secret {NAMESPACE}/{NAME}: {error}") from None
        if secret is None:
            return Record(), None
        data = secret.get("data") or {}
        try:
            record = _record.decode(_unpack(data["record"])) if "record" in data else Record()
            state = _state.decode(_unpack(data["state"])) if "state" in data else None
        except (msgspec.MsgspecError, ValueError, zlib.error, binascii.Error):
            raise StateError(
                f"the Secret {NAMESPACE}/{NAME} is damaged; delete it, and what is no longer wanted by hand"
            ) from None
        return record, state

    async def write(self, record: Record, state: DesiredState) -> None:
        """Keeps the record. Raises StateError."""
        data = {"record": _pack(msgspec.json.encode(record)), "state": _pack(msgspec.json.encode(state))}
        if sum(map(len, data.values())) > MAX_STORED:
            # The record matters more: without the state enforcing waits for the server after a restart.
            del data["state"]
        secret = {
            "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": {LABEL: "record"}},
            "type": "Opaque",
            "data": data,
        }
        try:
            await self._client.apply(SECRETS, secret)
        except KubeError as error:
            raise StateError(f"cannot write the Secret {NAMESPACE}/{NAME}: {error}") from None


def _pack(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


def _unpack(text: str) -> bytes:
    expand = zlib.decompressobj()
    data = expand.decompress(base64.b64decode(text, validate=True), _MAX_EXPANDED)
    if expand.unconsumed_tail:
        raise ValueError("larger than it may be")
    return data
