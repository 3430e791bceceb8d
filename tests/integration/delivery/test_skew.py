"""Server and agent of different versions: the older one skips what it does not know, and does what it can."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from outrider.delivery.entries import Entry
from outrider.delivery.ledger import HEAD, NAMESPACE
from outrider.delivery.ledger import LABEL as KEPT
from outrider.delivery.parts import compress, digest_of, hash_of, join, pack
from outrider.kube.builtin import CONFIGMAPS, SECRETS
from outrider.kube.client import Client
from outrider.tunnel.reports import (
    StateHead,
    StateHello,
    StateReport,
    UnknownMessage,
    decode_agent_message,
    decode_server_message,
    encode,
)
from tests.integration.delivery.conftest import Running, config, entry, until

Start = Callable[..., Running]


async def value(client: Client, name: str, namespace: str) -> str | None:
    found = await client.get_or_none(CONFIGMAPS, name, namespace)
    return found["data"].get("k", "") if found else None


def newer(made: Entry, **fields: Any) -> bytes:
    """An entry as a later version may write it."""
    return msgspec.json.encode({**msgspec.to_builtins(made), **fields}, order="deterministic")


def offer(running: Running, counter: int, lines: Mapping[str, bytes]) -> None:
    """A set as a newer server would send it: heads with more fields, entries with more fields."""
    groups, parts = pack(lines)
    hash_ = hash_of(groups, complete=True)
    head = StateHead(epoch=1, counter=counter, hash=hash_, complete=True, parts=groups)
    wire = {**msgspec.to_builtins(head), "type": "stateHead", "signature": "x", "parts2": [{"of": "later"}]}
    decoded = decode_server_message(msgspec.json.encode(wire))
    assert isinstance(decoded, StateHead)
    running.applier.offer(decoded, {digest: compress(part) for digest, part in parts.items()})


async def test_an_agent_that_is_older_than_the_server(start: Start, admin: Client, namespace: str) -> None:
    running = start()
    await running.apply(1, entry(config("kept", namespace, k="1")), entry(config("gone", namespace, k="1")))
    lines = {
        "a": newer(entry(config("a", namespace, k="1")), priority=7, wave={"of": "later"}),
        # What it cannot do it leaves as it is, and says so
        "kept": newer(entry(config("kept", namespace, k="2"), owner="new"), requires=["telepathy"]),
        "future": newer(
            entry(config("future", namespace, k="2"), owner="new"), requires=["telepathy", "project"]
        ),
    }
    offer(running, 2, lines)
    await until(lambda: running.reports[-1].counter == 2 and not running.reports[-1].pending)
    assert await value(admin, "a", namespace) == "1"
    assert await value(admin, "kept", namespace) == "1"
    assert await value(admin, "future", namespace) is None
    await until(lambda: value_is_none(admin, "gone", namespace))
    owners = {one.name: (one.applied, one.failed, one.message) for one in running.reports[-1].owners}
    assert owners["tests"] == (1, 0, "")
    assert owners["new"][:2] == (0, 2)
    assert "this agent is too old for it: it lacks telepathy" in owners["new"][2]


async def value_is_none(client: Client, name: str, namespace: str) -> bool:
    return await value(client, name, namespace) is None


async def test_a_ledger_that_a_newer_agent_wrote(start: Start, admin: Client, namespace: str) -> None:
    """An agent that was downgraded goes on: it prunes what the newer one made, and keeps its order of versions."""
    running = start()
    await running.apply(3, entry(config("a", namespace, k="1")), entry(config("b", namespace, k="1")))
    await running.stop()
    await add_to_ledger(
        admin, {"future": {"x": 1}}, ["", "ConfigMap", namespace, "extra", "v1", False, "more", 7]
    )
    await admin.create(CONFIGMAPS, labelled("extra", namespace))

    again = start()
    await until(lambda: again.reports and not again.reports[-1].pending)
    assert again.applier.kept.version == (1, 3)
    again.offer(2, entry(config("a", namespace, k="old")))
    await until(lambda: value_is_none(admin, "extra", namespace))
    report = await again.apply(4, entry(config("a", namespace, k="2")))
    assert report.failed == 0
    await until(lambda: value_is_none(admin, "b", namespace))
    assert await value(admin, "a", namespace) == "2"


def labelled(name: str, namespace: str) -> dict[str, Any]:
    obj = config(name, namespace, k="1")
    return {**obj, "metadata": {**obj["metadata"], "labels": {"outrider.cattle.io/delivered": "true"}}}


async def add_to_ledger(admin: Client, fields: dict[str, Any], row: list[Any]) -> None:
    """More fields in the head, and an object beyond the set, with more columns than this version has."""
    part = msgspec.json.encode([row])
    digest = digest_of(part)
    await admin.create(
        SECRETS,
        {
            "metadata": {"name": "outrider-state-newer", "namespace": NAMESPACE, "labels": {KEPT: "true"}},
            "data": {digest: base64.b64encode(compress(part)).decode()},
        },
    )
    stored = await admin.get(SECRETS, HEAD, NAMESPACE)
    head = msgspec.json.decode(base64.b64decode(stored["data"]["head"]))
    head |= {"extra": [[digest]], **fields}
    data = {"data": {"head": base64.b64encode(msgspec.json.encode(head)).decode()}}
    await admin.patch(SECRETS, HEAD, data, NAMESPACE)


async def test_what_an_older_agent_keeps_of_a_newer_entry(
    start: Start, admin: Client, namespace: str
) -> None:
    """The parts in its ledger are those that were sent, byte by byte: after its upgrade nothing is missing."""
    running = start()
    await until(lambda: running.applier.active)
    line = newer(entry(config("a", namespace, k="1")), priority=7)
    offer(running, 1, {"a": line})
    await until(lambda: running.reports and running.reports[-1].applied == 1)
    await running.stop()
    again = start()
    await until(lambda: again.applier.active)
    (group,) = again.applier.kept.parts
    found = {
        digest: base64.b64decode(data)
        for one in (await admin.list(SECRETS, NAMESPACE, labels=f"{KEPT}=true")).items
        for digest, data in one["data"].items()
        if digest in group
    }
    assert join(group, found) == b"[" + line + b"]"


def test_messages_of_a_later_version() -> None:
    hello = {"type": "stateHello", "protocols": [1, 2], "epoch": 3, "counter": 4, "hash": "h", "zstd": True}
    assert decode_agent_message(msgspec.json.encode(hello)) == StateHello(
        protocols=(1, 2), epoch=3, counter=4, hash="h"
    )
    report = {
        "type": "stateReport",
        "epoch": 1,
        "counter": 2,
        "health": {"x": 1},
        "owners": [{"name": "o", "since": 7}],
    }
    decoded = decode_agent_message(msgspec.json.encode(report))
    assert isinstance(decoded, StateReport)
    assert decoded.owners[0].name == "o"
    for decode in (decode_agent_message, decode_server_message):
        with pytest.raises(UnknownMessage):
            decode(b'{"type":"stateTelepathy","epoch":1}')
    # and of an earlier one, which says less
    assert decode_agent_message(b'{"type":"stateHello"}') == StateHello()
    assert decode_server_message(encode(StateHead(epoch=1, counter=1, hash="h")))
