from __future__ import annotations

import msgspec
import pytest

from outrider.tunnel import farewell
from outrider.tunnel.reports import Resync, StateGone, encode

TOKEN = "bcdfghjklmnpqrstvwxz2456789"
ORDER = farewell.order(TOKEN, "the cluster was deleted").encode()


def test_the_order_for_a_credential() -> None:
    assert farewell.is_order(410, ORDER, TOKEN)
    assert TOKEN not in ORDER.decode()


@pytest.mark.parametrize("status", [0, 400, 403, 404, 409, 200])
def test_other_statuses_are_none(status: int) -> None:
    assert not farewell.is_order(status, ORDER, TOKEN)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"gone",
        b"\xff" * 10,
        b"[" * 100_000,
        ORDER[:-2],
        encode(StateGone(reason="x")),
        encode(StateGone(proof="0" * 64)),
        encode(StateGone(proof="\u00e4")),
        encode(Resync(reason=msgspec.json.decode(ORDER)["proof"])),
        farewell.order(TOKEN + "2", "").encode(),
    ],
)
def test_other_bodies_are_none(body: bytes) -> None:
    assert not farewell.is_order(410, body, TOKEN)


def test_without_a_credential_there_is_none() -> None:
    assert not farewell.is_order(410, farewell.order("", "").encode(), "")
