"""The fast record equals the slow, obvious one."""

import base64
import re
import time
import uuid

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.gateway.audit_record import Recorder, user_members
from outrider.gateway.audit_uri import redact
from outrider.kube.identity import Identity
from outrider.link.messages import Verdict
from tests.unit.gateway.audit_samples import ALICE, Clients, exchange, grant, rfc3339

RECORDER = Recorder(Clients())
identities = st.builds(
    Identity,
    st.text(min_size=1, max_size=20),
    st.lists(st.text(max_size=20), max_size=3).map(tuple),
    st.dictionaries(
        st.sampled_from(["username", "principalid"]), st.lists(st.text(max_size=9), max_size=2).map(tuple)
    ),
)


@given(
    uri=st.binary(min_size=1, max_size=80),
    remote=st.text(max_size=20),
    identity=identities,
    status=st.integers(0, 599),
    sizes=st.tuples(st.integers(0, 1 << 50), st.integers(0, 1 << 50)),
    number=st.integers(1, (1 << 48) - 1),
    lasted=st.floats(0, 1e6),
)
def test_every_line_is_json_and_says_what_the_slow_way_says(
    uri: bytes,
    remote: str,
    identity: Identity,
    status: int,
    sizes: tuple[int, int],
    number: int,
    lasted: float,
) -> None:
    one = exchange(uri, remote=remote, status=status, bytes_in=sizes[0], bytes_out=sizes[1])
    one.grant = grant(Verdict(id=1, status=200, identity=identity))
    one.started = time.monotonic() - lasted
    line = RECORDER.line(one, number)
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert b"\t" not in line
    entry = msgspec.json.decode(line)
    ended = time.time()
    stamps = [entry.pop("requestTimestamp"), entry.pop("responseTimestamp")]
    assert entry.pop("auditID").endswith(f"-{number:012x}")
    expected = {
        "requestURI": redact(uri),
        "method": "GET",
        "remoteAddr": remote,
        "responseCode": status,
        "requestBytes": sizes[0],
        "responseBytes": sizes[1],
        "user": {
            "name": identity.user,
            "group": list(identity.groups),
            "extra": {key: list(values) for key, values in identity.extra.items()},
        },
    }
    if identity.extra.get("username"):
        expected["userLoginName"] = ",".join(identity.extra["username"])
    assert entry == expected
    assert rfc3339(ended - lasted - 5) < stamps[0] < rfc3339(ended - lasted + 0.001)
    assert rfc3339(ended - 5) < stamps[1] < rfc3339(ended + 0.001)


def test_ids_are_uuids_that_count() -> None:
    ids = [msgspec.json.decode(RECORDER.line(exchange(), number))["auditID"] for number in (1, 2, 0xABC)]
    for identifier in ids:
        assert str(uuid.UUID(identifier)) == identifier
        assert uuid.UUID(identifier).version == 4
        assert uuid.UUID(identifier).variant == uuid.RFC_4122
    assert [identifier[-12:] for identifier in ids] == ["000000000001", "000000000002", "000000000abc"]
    assert len({identifier[:23] for identifier in ids}) == 1


def test_gateways_do_not_share_ids() -> None:
    assert RECORDER.line(exchange(), 1)[:48] != Recorder(Clients()).line(exchange(), 1)[:48]


def test_time_stamps_are_rfc3339_in_utc_with_milliseconds() -> None:
    entry = msgspec.json.decode(RECORDER.line(exchange(), 1))
    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert re.fullmatch(pattern, entry["requestTimestamp"])
    assert entry["requestTimestamp"] <= entry["responseTimestamp"]


def test_seconds_that_were_rendered_are_not_kept_for_ever() -> None:
    recorder = Recorder(Clients())
    for age in range(1000):
        recorder.line(exchange(started=time.monotonic() - age), 1)
    assert len(recorder._seconds) < 100


def test_a_user_is_rendered_once_a_verdict() -> None:
    one = exchange()
    assert one.grant is not None
    RECORDER.line(one, 1)
    first = one.grant.audit
    RECORDER.line(one, 2)
    assert first is not None
    assert one.grant.audit is first


def test_excluded_groups_are_left_out() -> None:
    line = Recorder(Clients(), excluded={"system:authenticated"}).line(exchange(), 1)
    assert msgspec.json.decode(line)["user"]["group"] == ['Größe "&" Co']


def test_of_a_refused_credential_what_is_known() -> None:
    assert user_members(Verdict(id=1, status=401)) == b""
    members = user_members(Verdict(id=1, status=404, user="u-1", token="token-abcde"))
    assert members == b',"user":{"name":"u-1","extra":{"requesttokenid":["token-abcde"]}}'
    line = RECORDER.line(exchange(status=401, grant=grant(Verdict(id=1, status=401, token="token-zzzzz"))), 1)
    entry = msgspec.json.decode(line)
    assert entry["event"] == "authentication"
    assert entry["user"] == {"extra": {"requesttokenid": ["token-zzzzz"]}}


def test_without_a_user_there_is_none() -> None:
    entry = msgspec.json.decode(RECORDER.line(exchange(grant=None), 1))
    assert "user" not in entry
    assert "userLoginName" not in entry


def test_whom_somebody_wanted_to_be() -> None:
    special = {b"impersonate-user": b"root\xff", b"impersonate-group": b"a, system:masters"}
    one = exchange(grant=None, impersonates=True, status=403, special=special)
    user = msgspec.json.decode(RECORDER.line(one, 1))["user"]
    assert user == {"requestUser": "rootÿ", "requestGroups": ["a", "system:masters"]}


def test_the_client_behind_a_trusted_proxy_is_named() -> None:
    one = exchange(special={b"x-forwarded-for": b'evil", 203.0.113.9'})
    assert msgspec.json.decode(RECORDER.line(one, 1))["remoteAddr"] == "203.0.113.9"


@pytest.mark.parametrize("name", ["authorization", "cookie", "referer", "x-api-tunnel-token"])
def test_headers_are_not_recorded(name: str) -> None:
    one = exchange(
        special={name.encode(): b"Canary-1"}, cookie=b"R_SESS=Canary-1", credential=b"Bearer Canary-1"
    )
    one.lines = [name.encode() + b": Canary-1\r\n"]
    assert b"Canary" not in RECORDER.line(one, 1)


def test_more_members_go_last() -> None:
    line = RECORDER.line(exchange(), 1, b',"stage":"open"')
    assert line.endswith(b',"userLoginName":"alice","stage":"open"}\n')
    assert msgspec.json.decode(line)["user"]["name"] == ALICE.user


def test_a_credential_that_was_revoked_is_still_its_users() -> None:
    members = user_members(Verdict(id=2, status=401), former=msgspec.json.encode(ALICE))
    assert members == user_members(Verdict(id=1, status=200, identity=ALICE))


@pytest.mark.parametrize("status", [401, 429])
def test_a_refused_password_names_who_tried(status: int) -> None:
    refused = grant(Verdict(id=1, status=status))
    one = exchange(status=status, grant=refused, credential=b"Basic " + base64.b64encode(b"eve:Canary"))
    line = RECORDER.line(one, 1)
    assert msgspec.json.decode(line)["userLoginName"] == "eve"
    assert b"Canary" not in line
