"""Heads whose lines repeat: reading only their first line must make no difference."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.gateway.desk import C1, Desk, get

LINES = st.sampled_from(
    [
        (),
        (b"Accept: a",),
        (b"Accept: a", b"User-Agent: k"),
        (b"Accept: b",),
        (b"Connection: close",),
        (b"Connection: keep-alive",),
        (b"Connection: Accept", b"Accept: a"),
        (b"Content-Length: 0",),
        (b"Impersonate-User: x",),
        (b"X-Outrider-Claim: x",),
        (b"X-Forwarded-For: 1.2.3.4",),
        (b"Cookie: a=b",),
        (b"Expect: 100-continue",),
        (b"Transfer-Encoding: chunked",),
        (b"Host: other",),
    ]
)
TARGETS = st.sampled_from(
    [C1 + b"/a", C1 + b"/b?c=d", C1 + b"/../x", b"/k8s/clusters/other/a", C1 + b"/#", b"*", C1 + b'/"']
)
METHODS = st.sampled_from([b"GET", b"GET", b"GET", b"HEAD", b"DELETE", b"get"])


async def conversation(requests: list[bytes], size: int) -> tuple[list[object], bytes]:
    """What the backend saw and what the client got, when each request comes in reads of `size` bytes (0: whole)."""
    desk = Desk()
    desk.cluster.answers = lambda call: call.answer(b"ok " + call.target)
    client = desk.client()
    for request in requests:
        client.feed(request, size)
        await asyncio.sleep(0)
    seen = [(call.target, call.lines, call.request, call.claim) for call in desk.cluster.calls]
    return seen, client.take()


@given(st.lists(st.tuples(METHODS, TARGETS, LINES), max_size=6))
@settings(max_examples=300, deadline=None)
def test_whole_heads_mean_what_heads_in_pieces_mean(
    drafts: list[tuple[bytes, bytes, tuple[bytes, ...]]],
) -> None:
    requests = [get(target, *lines, method=method) for method, target, lines in drafts]
    whole = asyncio.run(conversation(requests, 0))
    pieces = asyncio.run(conversation(requests, 3))
    assert whole == pieces


def test_empty_lines_before_a_head_are_not_taken_for_its_first_line() -> None:
    request = get(C1 + b"/b")
    requests = [b"\r\n" + request, b"GET /k8s/clusters/c-1/a HTTP/1.1\r\n" + request]
    whole = asyncio.run(conversation(requests, 0))
    assert whole == asyncio.run(conversation(requests, 3))
    assert len(whole[0]) == 1


def test_a_repeated_head_reaches_the_backend() -> None:
    requests = [get(C1 + b"/%d" % n, b"Accept: a") for n in range(5)]
    seen, answers = asyncio.run(conversation(requests, 0))
    assert len(seen) == 5
    assert answers.count(b"200 OK") == 5
