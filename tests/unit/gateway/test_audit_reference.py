"""The reference page names every field that a record can have, and its example is a record."""

import re
from pathlib import Path

import msgspec

from outrider.gateway.audit_log import Lines
from tests.support.audit_desk import AuditDesk
from tests.unit.gateway.audit_samples import exchange
from tests.unit.gateway.desk import C1, get

PAGE = (Path(__file__).resolve().parents[3] / "docs/reference/audit.md").read_text()


def documented() -> set[str]:
    table = PAGE.partition("| field |")[2].partition("\n\n")[0]
    return {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_the_example_is_what_a_record_looks_like(tmp_path: Path) -> None:
    (example,) = re.findall(r"```json\n(.*)\n```", PAGE)
    entry = msgspec.json.decode(example)
    assert Lines().feed(example.encode() + b"\n") == example.encode() + b"\n"
    assert entry.keys() <= documented()


async def test_every_field_is_documented(tmp_path: Path) -> None:
    desk = AuditDesk(tmp_path, 3)
    client = desk.client()
    client.feed(get(b"/v3-public/x?action=login", b"Content-Length: 2", method=b"POST", token=b"") + b"{}")
    desk.control.last.answer(b'{"a":1}')
    client.feed(get(C1 + b"/x", b"Content-Length: 2", method=b"PUT") + b"ab")
    desk.cluster.last.answer(b"no")
    client.feed(get(C1 + b"/exec", b"Connection: Upgrade", b"Upgrade: SPDY/3.1"))
    desk.cluster.last.responder.on_head(101, -1, b"", b"", False)
    client.vanish()
    desk.trail._channel.lost = 1
    desk.trail.ended(exchange(b"/v3/connect", route="tunnel"))
    entries = [*desk.log(), msgspec.json.decode(Lines().feed(b"junk\n"))]
    desk.close()
    seen = {name for entry in entries for name in entry}
    assert len(seen) >= 18
    assert seen <= documented()
    assert documented() - seen == {"fragment"}
