import contextlib
import ipaddress
import os
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.kit import pki

NOW = datetime.now(UTC)
AUTHORITY = pki.create_authority("test authority", now=NOW)


def issue(**kwargs: object) -> pki.Credential:
    wanted: dict = {"dns": ("localhost",), "ips": ("127.0.0.1",), "now": NOW} | kwargs
    return pki.issue_server(AUTHORITY, "server", **wanted)


def handshake(server: pki.Credential, client: pki.Credential, tmp_path: Path, trust: bytes) -> dict:
    """A real TLS connection with mutual authentication; returns the server's view of the client."""
    for name, credential in (("server", server), ("client", client)):
        pki.write_private(tmp_path / f"{name}.pem", pki.to_bundle(credential))
    accepting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=trust.decode())
    accepting.verify_mode = ssl.CERT_REQUIRED
    accepting.load_cert_chain(tmp_path / "server.pem")
    calling = ssl.create_default_context(cadata=trust.decode())
    calling.verify_flags |= ssl.VERIFY_X509_STRICT
    calling.load_cert_chain(tmp_path / "client.pem")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    left = calling.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    right = accepting.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (left, right):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return right.getpeercert() or {}


def test_issued_certificates_pass_strict_verification_in_a_real_handshake(tmp_path: Path) -> None:
    client = pki.issue_client(AUTHORITY, "jane", ["developers", "system:masters"], now=NOW)
    seen = handshake(issue(), client, tmp_path, AUTHORITY.cert_pem)
    assert (("organizationName", "developers"),) in seen["subject"]
    assert (("commonName", "jane"),) in seen["subject"]


def test_a_renewed_authority_still_verifies_what_it_issued_before(tmp_path: Path) -> None:
    renewed = pki.renew_authority(AUTHORITY, now=NOW + timedelta(minutes=1))
    assert renewed.cert_pem != AUTHORITY.cert_pem
    client = pki.issue_client(renewed, "jane", now=NOW)
    assert handshake(issue(), client, tmp_path, renewed.cert_pem)
    assert handshake(issue(), client, tmp_path, AUTHORITY.cert_pem)


def test_a_client_certificate_is_refused_as_a_server(tmp_path: Path) -> None:
    client = pki.issue_client(AUTHORITY, "jane", now=NOW)
    with pytest.raises(ssl.SSLCertVerificationError, match="unsuitable certificate purpose"):
        handshake(client, client, tmp_path, AUTHORITY.cert_pem)


def test_describe_tells_names_groups_and_times() -> None:
    info = pki.describe(issue(dns=("a.example", "b.example"), ips=("127.0.0.1", "::1")).cert_pem)
    assert (info.common_name, info.dns, info.ips) == (
        "server",
        ("a.example", "b.example"),
        ("127.0.0.1", "::1"),
    )
    assert abs(info.not_after - (NOW + pki.LEAF_LIFETIME)) < timedelta(seconds=1)
    groups = pki.describe(pki.issue_client(AUTHORITY, "u", ["g1", "g2"], now=NOW).cert_pem)
    assert (groups.organizations, groups.dns, groups.ips) == (("g1", "g2"), (), ())


@pytest.mark.parametrize(
    ("part", "near"), [(0.0, False), (0.65, False), (0.68, True), (1.0, True), (2.0, True)]
)
def test_near_expiry_begins_when_a_third_of_life_is_left(part: float, near: bool) -> None:
    certificate = issue(lifetime=timedelta(days=90)).cert_pem
    assert pki.near_expiry(certificate, now=NOW + timedelta(days=90) * part) is near


def test_a_certificate_from_the_future_is_due_too() -> None:
    """A clock that was wrong at the first start must not leave a certificate that never works."""
    assert pki.near_expiry(issue().cert_pem, now=NOW - timedelta(days=1))


def test_a_sound_certificate_is_kept() -> None:
    assert not pki.must_reissue(issue(), AUTHORITY.cert_pem, now=NOW, dns=["localhost"], ips=["127.0.0.1"])


def test_the_order_and_spelling_of_names_do_not_matter() -> None:
    present = issue(dns=("a", "b"), ips=("::1", "127.0.0.1"))
    assert not pki.must_reissue(
        present, AUTHORITY.cert_pem, now=NOW, dns=["b", "a"], ips=["127.0.0.1", "0:0:0:0:0:0:0:1"]
    )


@pytest.mark.parametrize(
    "change",
    [{"dns": ["other"]}, {"ips": ["127.0.0.2"]}, {"dns": ["localhost", "more"]}, {"ips": []}],
    ids=str,
)
def test_other_names_ask_for_a_new_certificate(change: dict) -> None:
    wanted = {"dns": ["localhost"], "ips": ["127.0.0.1"]} | change
    assert pki.must_reissue(issue(), AUTHORITY.cert_pem, now=NOW, **wanted)


def test_another_authority_of_the_same_name_asks_for_a_new_certificate() -> None:
    other = pki.create_authority("test authority", now=NOW)
    assert not pki.issued_by(issue().cert_pem, other.cert_pem)
    assert pki.must_reissue(issue(), other.cert_pem, now=NOW, dns=["localhost"], ips=["127.0.0.1"])


@pytest.mark.parametrize(
    "damaged",
    [
        pki.Credential(b"", b""),
        pki.Credential(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", AUTHORITY.key_pem),
        pki.Credential(issue().cert_pem, b"nonsense"),
        pki.Credential(issue().cert_pem, issue().key_pem),
    ],
    ids=["empty", "bad certificate", "bad key", "torn pair"],
)
def test_a_damaged_pair_asks_for_a_new_certificate(damaged: pki.Credential) -> None:
    assert pki.must_reissue(damaged, AUTHORITY.cert_pem, now=NOW, dns=["localhost"], ips=["127.0.0.1"])


def test_no_private_key_in_representations_and_errors() -> None:
    credential, key = issue(), pki.create_signing_key()
    secret = credential.key_pem.decode().splitlines()[1]
    assert secret not in repr(credential)
    assert key.private_pem.decode().splitlines()[1] not in repr(key)
    broken = credential.key_pem.replace(b"END PRIVATE", b"END BROKEN")
    with pytest.raises(pki.PkiError) as caught:
        pki.public_key_of(broken)
    assert secret not in str(caught.value)
    assert caught.value.__cause__ is None


def test_bundle_round_trip_and_its_refusals() -> None:
    credential = issue()
    assert pki.from_bundle(pki.to_bundle(credential)) == credential
    for bundle in (
        b"",
        credential.cert_pem,
        credential.key_pem,
        pki.to_bundle(credential) + credential.key_pem,
    ):
        with pytest.raises(pki.PkiError):
            pki.from_bundle(bundle)


@given(st.binary(max_size=200))
def test_any_bytes_read_as_a_bundle_give_a_pki_error(data: bytes) -> None:
    with pytest.raises(pki.PkiError):
        pki.from_bundle(data)


def test_a_signing_keys_public_half_is_derived() -> None:
    key = pki.create_signing_key()
    assert pki.public_key_of(key.private_pem) == key.public_pem


def test_private_files_are_0600_whatever_the_umask_and_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(b"open to all")
    path.chmod(0o666)
    before = os.umask(0)
    try:
        pki.write_private(path, b"secret")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == b"secret"
    assert [entry.name for entry in tmp_path.iterdir()] == ["key.pem"]


def test_reading_a_missing_credential_gives_none(tmp_path: Path) -> None:
    assert pki.read_credential(tmp_path / "none.pem") is None


def test_an_invalid_address_is_refused() -> None:
    with pytest.raises(ValueError, match=r"300\.0\.0\.1"):
        issue(ips=("300.0.0.1",))
    assert ipaddress.ip_address(pki.describe(issue().cert_pem).ips[0]).is_loopback
