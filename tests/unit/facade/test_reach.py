"""The way into clusters: what goes with a request, and what a refusal of the gateway's own becomes."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from outrider.apis.norman import NormanError
from outrider.facade.reach import Tunnelled
from outrider.kube.errors import TransportError
from outrider.kube.identity import Identity
from outrider.kube.transport import Request, Response
from outrider.link.messages import CLAIM_HEADER, CLUSTER_HEADER

JANE = Identity("user-jane", ("system:authenticated",), {"principalid": ("local://user-jane",)})


class Wire:
    def __init__(self, answer: Response | Exception) -> None:
        self.answer = answer
        self.sent: list[Request] = []

    async def request(self, request: Request, *, timeout: float) -> Response:
        self.sent.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def tunnelled(answer: Response | Exception) -> tuple[Tunnelled, Wire]:
    wire: Any = Wire(answer)
    return Tunnelled(wire, "c-1", JANE), wire


async def test_the_identity_and_the_cluster_go_with_a_request() -> None:
    way, wire = tunnelled(Response(status=200, headers={}, body=b"{}"))
    await way.request(Request(method="GET", path="/api", headers=[("Accept", "x")]), timeout=1)
    headers = dict(wire.sent[0].headers)
    assert (headers["Accept"], headers[CLUSTER_HEADER]) == ("x", "c-1")
    assert msgspec.json.decode(base64.urlsafe_b64decode(headers[CLAIM_HEADER]), type=Identity) == JANE


@pytest.mark.parametrize("answer", [Response(status=503, headers={}), TransportError("no socket")])
async def test_a_cluster_that_is_not_there_is_503(answer: Response | Exception) -> None:
    way, _ = tunnelled(answer)
    with pytest.raises(NormanError) as refused:
        await way.request(Request(method="GET", path="/api"), timeout=1)
    assert (refused.value.status, refused.value.code) == (503, "ClusterUnavailable")
    assert refused.value.headers["Retry-After"] == "5"
    assert "socket" not in refused.value.message


async def test_a_503_of_the_clusters_own_passes() -> None:
    way, _ = tunnelled(Response(status=503, headers={"audit-id": "x"}))
    assert (await way.request(Request(method="GET", path="/api"), timeout=1)).status == 503
