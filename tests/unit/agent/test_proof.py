from __future__ import annotations

import msgspec
import pytest

from outrider.agent.proof import Outcome, judge
from outrider.kube.transport import Response


def denial(kind: str) -> bytes:
    return msgspec.json.encode({"kind": "Status", "code": 403, "details": {"kind": kind}})


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (201, b"{}", Outcome.ACCEPTED),
        (401, b"", Outcome.BAD_TOKEN),
        (403, denial("groups"), Outcome.NOT_ALLOWED),
        (403, denial("users"), Outcome.NOT_ALLOWED),
        (403, denial("selfsubjectaccessreviews"), Outcome.ACCEPTED),
        (403, b"no json", Outcome.NOT_ALLOWED),
        (403, b'{"details": []}', Outcome.NOT_ALLOWED),
        (429, b"", Outcome.NO_ANSWER),
        (500, b"", Outcome.NO_ANSWER),
        (302, b"", Outcome.NO_ANSWER),
    ],
)
def test_an_answer_to_the_review_is_judged(status: int, body: bytes, outcome: Outcome) -> None:
    assert judge(Response(status=status, headers={}, body=body)) is outcome
