import asyncio
import contextlib
import socket
import stat
import struct
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.kube.identity import Identity
from outrider.link import endpoint as link
from outrider.link.endpoint import Endpoint, LinkError, connect, decode, encode, serve
from outrider.link.messages import (
    Admission,
    Admit,
    Beat,
    CloseSessions,
    Counters,
    FromAgent,
    Invalidate,
    Resolve,
    Serve,
    SessionClosed,
    SessionOpened,
    ToAgent,
    Verdict,
)

BODY = msgspec.Raw(b'{"kind":\n"Nodes"}')
MESSAGES = [
    Resolve(id=1, credential="Bearer token-a:b", cluster="c-1", host="h:1", remote="10.0.0.1"),
    Verdict(id=1, status=200, identity=Identity("u", ("g",), {"k": ("v",)}), token="t", user="u", ttl=1.5),
    Verdict(id=2, status=401, code="Unauthorized", message="must authenticate"),
    Admit(id=3, token="x", params={"cluster": {"address": "a"}}, remote="r", agent_version="1"),
    Admission(id=3, status=200, cluster="c-1", registration="default-token"),
    SessionOpened(cluster="c-1", session=7, registration="default-token"),
    SessionClosed(cluster="c-1", session=7, reason="gone"),
    FromAgent(cluster="c-1", session=7, body=BODY),
    ToAgent(cluster="c-1", body=BODY),
    CloseSessions(cluster="c-1", registration="default-token"),
    Beat(generation=5),
    Invalidate(generation=6, tokens=("t",), users=("u",), everything=True),
    Serve(certificate="C", key="K", ca="A"),
    Counters(values={'rancher_api_errors_total{code="404"}': 3.0}),
]


@pytest.fixture
def path():
    # a short path: the system allows 107 bytes for a socket's name
    with tempfile.TemporaryDirectory(prefix="link") as folder:
        yield Path(folder) / "s"


async def collect(endpoint: Endpoint, into: list) -> None:
    async for message in endpoint:
        into.append(message)


async def test_messages_arrive_whole_and_in_order(path):
    got: list = []
    done = asyncio.Event()

    async def handler(endpoint: Endpoint) -> None:
        await collect(endpoint, got)
        done.set()

    listener = await serve(path, handler)
    client = await connect(path)
    for message in MESSAGES:
        client.send(message)
    await client.close()
    await asyncio.wait_for(done.wait(), 5)
    await listener.close()
    assert [msgspec.json.encode(m) for m in got] == [msgspec.json.encode(m) for m in MESSAGES]
    assert [type(m) for m in got] == [type(m) for m in MESSAGES]


async def test_answers_flow_back_on_the_same_connection(path):
    async def handler(endpoint: Endpoint) -> None:
        async for message in endpoint:
            assert isinstance(message, Resolve)
            endpoint.send(Verdict(id=message.id, status=404))

    listener = await serve(path, handler)
    client = await connect(path)
    for number in range(100):
        client.send(Resolve(id=number, credential=""))
    answers = client.__aiter__()
    assert [(await anext(answers)).id for _ in range(100)] == list(range(100))
    await answers.aclose()
    await client.close()
    await listener.close()


async def test_socket_is_private_and_a_stale_one_is_replaced(path):
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as stale:
        stale.bind(str(path))
    listener = await serve(path, lambda endpoint: collect(endpoint, []))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await (await connect(path)).close()
    await listener.close()
    assert not path.exists()


async def test_connect_says_when_nobody_listens(path):
    with pytest.raises(LinkError, match="cannot reach the link at"):
        await connect(path)


async def test_too_long_a_path_is_named():
    with pytest.raises(LinkError, match="shorter name"):
        await serve("/tmp/" + "x" * 120, lambda endpoint: collect(endpoint, []))


async def pair() -> tuple[Endpoint, Endpoint]:
    left, right = socket.socketpair()
    return (
        Endpoint(*await asyncio.open_unix_connection(sock=left), max_backlog=100_000),
        Endpoint(*await asyncio.open_unix_connection(sock=right)),
    )


def flood(endpoint: Endpoint) -> None:
    for _ in range(10_000):
        endpoint.send(ToAgent(cluster="c", body=msgspec.Raw(b'"' + b"x" * 1000 + b'"')))


async def test_a_peer_that_takes_nothing_gets_the_link_closed():
    ours, theirs = await pair()
    with pytest.raises(LinkError, match="pile up"):
        flood(ours)
    assert ours.closed
    with pytest.raises(LinkError, match="closed"):
        ours.send(Beat(generation=1))
    await ours.close()
    await theirs.close()


async def raw_bytes_to(data: bytes) -> list:
    left, right = socket.socketpair()
    endpoint = Endpoint(*await asyncio.open_unix_connection(sock=right))
    got: list = []
    try:
        left.sendall(data)
        left.close()
        await collect(endpoint, got)
    finally:
        await endpoint.close()
    return got


async def test_an_announced_length_over_the_bound_is_refused():
    with pytest.raises(LinkError, match="announced"):
        await raw_bytes_to(struct.pack("!I", link.MAX_MESSAGE + 1))


@pytest.mark.parametrize("cut", [1, 3, 4, 9])
async def test_an_end_inside_a_message_is_an_error(cut):
    with pytest.raises(LinkError, match="middle"):
        await raw_bytes_to(encode(Beat(generation=1234))[:cut])


@given(st.lists(st.binary(max_size=200), max_size=5), st.booleans())
def test_any_bytes_give_messages_or_a_link_error(chunks, framed):
    data = b"".join(struct.pack("!I", len(chunk)) + chunk if framed else chunk for chunk in chunks)
    with contextlib.suppress(LinkError):
        asyncio.run(raw_bytes_to(data))


def test_deep_nesting_is_a_link_error():
    with pytest.raises(LinkError):
        decode(b'{"type":"admit","id":1,"token":"","params":{"a":' + b"[" * 100_000)


@pytest.mark.parametrize("body", [b"", b'1,"session":9', b'{}{"type":"beat"}', b"{", b'"\n"', b"[" * 100_000])
def test_a_raw_body_cannot_rewrite_the_message_around_it(body):
    with pytest.raises(LinkError, match="not one JSON value"):
        encode(FromAgent(cluster="c", session=1, body=msgspec.Raw(body)))


def test_a_message_over_the_bound_is_not_sent():
    with pytest.raises(LinkError, match="longer than"):
        encode(Resolve(id=1, credential="x" * link.MAX_MESSAGE))


@given(st.text(), st.text(), st.integers(min_value=0, max_value=2**63 - 1))
def test_encoding_and_decoding_are_inverse(credential, cluster, number):
    message = Resolve(id=number, credential=credential, cluster=cluster)
    assert decode(encode(message)[4:]) == message


@pytest.mark.parametrize(
    "message",
    [
        Resolve(id=1, credential="hunter2"),
        Admit(id=1, token="hunter2"),
        Serve(certificate="hunter2", key="hunter2"),
    ],
)
def test_secrets_stay_out_of_the_repr(message):
    assert "hunter2" not in repr(message)
    assert "hunter2" not in str(message)
