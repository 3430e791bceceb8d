"""Certificates: a small wrapper over ``cryptography`` for the certificates Outrider issues itself.

Everything takes and returns PEM bytes, so that a caller may keep them in a file, in a Secret or in
memory. Only the last two public functions touch files. Keys are ECDSA P-256 (RFC 5480), certificates follow
the profile of RFC 5280 that Go's and OpenSSL's strict verification ask for.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=365)

# Clocks differ between machines: a certificate issued now must already be valid on one that is behind.
_BACKDATE = timedelta(minutes=5)

_BLOCK = re.compile(
    rb"-----BEGIN (?P<label>CERTIFICATE|(?:EC )?PRIVATE KEY)-----\s.*?-----END (?P=label)-----", re.DOTALL
)


class PkiError(ValueError):
    """A PEM block is missing, malformed or of a kind that this module does not issue."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate with its private key, both PEM. The key never shows in a representation."""

    cert_pem: bytes
    key_pem: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A bare key pair (PKCS#8 private, SubjectPublicKeyInfo public), as service-account tokens use."""

    public_pem: bytes
    private_pem: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """What a certificate says. Times are aware UTC; ``ips`` are in their canonical spelling."""

    common_name: str
    organizations: tuple[str, ...]
    dns: tuple[str, ...]
    ips: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    sha256: str


def create_authority(
    common_name: str, *, now: datetime, lifetime: timedelta = AUTHORITY_LIFETIME
) -> Credential:
    """A self-signed certificate authority that may sign leaves but no further authority."""
    key = _new_key()
    return Credential(_pem(_self_sign(_name(common_name), key, now, lifetime)), _private_pem(key))


def renew_authority(
    authority: Credential, *, now: datetime, lifetime: timedelta = AUTHORITY_LIFETIME
) -> Credential:
    """The same authority with a new validity.

    Subject and key stay, so every certificate it has issued verifies against the old and the new one.
    """
    subject = _load_certificate(authority.cert_pem).subject
    key = _load_key(authority.key_pem)
    return Credential(_pem(_self_sign(subject, key, now, lifetime)), authority.key_pem)


def issue_server(
    authority: Credential,
    common_name: str,
    *,
    now: datetime,
    dns: Iterable[str] = (),
    ips: Iterable[str] = (),
    lifetime: timedelta = LEAF_LIFETIME,
    client: bool = False,
    groups: Sequence[str] = (),
) -> Credential:
    """A serving certificate for these DNS names and IP addresses.

    With ``client`` it may authenticate as a client too, as etcd's peers do with one certificate; ``groups``
    are its O.
    Raises ``ValueError`` for an address that is none.
    """
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in dns]
    names += [x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips]
    usages = [ExtendedKeyUsageOID.SERVER_AUTH]
    if client:
        usages.append(ExtendedKeyUsageOID.CLIENT_AUTH)
    return _issue(authority, _name(common_name, groups), usages, names, now=now, lifetime=lifetime)


def issue_client(
    authority: Credential,
    common_name: str,
    groups: Sequence[str] = (),
    *,
    now: datetime,
    lifetime: timedelta = LEAF_LIFETIME,
) -> Credential:
    """A client certificate: Kubernetes reads the user from CN and the groups from O."""
    return _issue(
        authority,
        _name(common_name, groups),
        [ExtendedKeyUsageOID.CLIENT_AUTH],
        [],
        now=now,
        lifetime=lifetime,
    )


def create_signing_key() -> SigningKey:
    """A key pair for signing service-account tokens (ES256)."""
    key = _new_key()
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return SigningKey(public, _private_pem(key))


def public_key_of(private_pem: bytes) -> bytes:
    """The public half (PEM) of a private key."""
    return (
        _load_key(private_pem)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def describe(cert_pem: bytes) -> CertificateInfo:
    """What the first certificate of a PEM bundle says. Raises ``PkiError``."""
    certificate = _load_certificate(cert_pem)
    dns, ips = _subject_alternatives(certificate)
    return CertificateInfo(
        common_name=_attribute(certificate, NameOID.COMMON_NAME)[0],
        organizations=_attribute(certificate, NameOID.ORGANIZATION_NAME),
        dns=dns,
        ips=ips,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        sha256=certificate.fingerprint(hashes.SHA256()).hex(),
    )


def near_expiry(cert_pem: bytes, *, now: datetime) -> bool:
    """Whether less than a third of the certificate's life remains (or it is not valid yet)."""
    info = describe(cert_pem)
    life = info.not_after - info.not_before
    return now < info.not_before or info.not_after - now < life / 3


def issued_by(cert_pem: bytes, authority_pem: bytes) -> bool:
    """Whether this authority's key signed the certificate; says nothing about validity in time."""
    try:
        _load_certificate(cert_pem).verify_directly_issued_by(_load_certificate(authority_pem))
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def matches_key(credential: Credential) -> bool:
    """Whether certificate and key belong together: a torn write leaves a pair that does not."""
    return (
        _load_certificate(credential.cert_pem).public_key() == _load_any_key(credential.key_pem).public_key()
    )


def must_reissue(
    credential: Credential,
    authority_pem: bytes,
    *,
    now: datetime,
    dns: Iterable[str] = (),
    ips: Iterable[str] = (),
) -> bool:
    """Whether a leaf must be issued anew: unreadable, torn, of another authority, old or for other names."""
    try:
        info = describe(credential.cert_pem)
        sound = matches_key(credential) and issued_by(credential.cert_pem, authority_pem)
        old = near_expiry(credential.cert_pem, now=now)
    except PkiError:
        return True
    wanted_ips = {str(ipaddress.ip_address(ip)) for ip in ips}
    return not sound or old or set(info.dns) != set(dns) or set(info.ips) != wanted_ips


def to_bundle(credential: Credential) -> bytes:
    """Certificate and key in one PEM document: written in one go, so that no reader meets a torn pair."""
    return credential.cert_pem.rstrip(b"\n") + b"\n" + credential.key_pem


def from_bundle(bundle: bytes) -> Credential:
    """The inverse of ``to_bundle``. Raises ``PkiError`` when certificate or key is missing."""
    certificates: list[bytes] = []
    keys: list[bytes] = []
    for match in _BLOCK.finditer(bundle):
        blocks = certificates if match["label"] == b"CERTIFICATE" else keys
        blocks.append(match[0] + b"\n")
    if not certificates or len(keys) != 1:
        raise PkiError("a credential bundle holds at least one certificate and exactly one private key")
    return Credential(b"".join(certificates), keys[0])


def write_private(path: Path, data: bytes) -> None:
    """Replace a file atomically with mode 0600: a reader sees the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_credential(path: Path) -> Credential | None:
    """The credential that a file holds as a bundle, or ``None`` when there is no such file."""
    try:
        return from_bundle(path.read_bytes())
    except FileNotFoundError:
        return None


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _name(common_name: str, organizations: Sequence[str] = ()) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _self_sign(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, lifetime: timedelta
) -> x509.Certificate:
    builder = _builder(subject, subject, key.public_key(), now, lifetime)
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _issue(
    authority: Credential,
    subject: x509.Name,
    usages: list[x509.ObjectIdentifier],
    names: list[x509.GeneralName],
    *,
    now: datetime,
    lifetime: timedelta,
) -> Credential:
    issuer, issuer_key, key = _load_certificate(authority.cert_pem), _load_key(authority.key_pem), _new_key()
    builder = (
        _builder(subject, issuer.subject, key.public_key(), now, lifetime)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Credential(_pem(builder.sign(issuer_key, hashes.SHA256())), _private_pem(key))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _subject_alternatives(certificate: x509.Certificate) -> tuple[tuple[str, ...], tuple[str, ...]]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return (), ()
    ips = (str(address) for address in names.get_values_for_type(x509.IPAddress))
    return tuple(names.get_values_for_type(x509.DNSName)), tuple(ips)


def _attribute(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> tuple[str, ...]:
    values = tuple(str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(oid))
    return values or (("",) if oid == NameOID.COMMON_NAME else ())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_certificate(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise PkiError("not a PEM certificate: expected a BEGIN CERTIFICATE block") from error


def _load_any_key(pem: bytes) -> PrivateKeyTypes:
    # The parser's own message may quote the input, hence no cause: a key must not reach a log.
    try:
        return serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise PkiError("not an unencrypted PEM private key") from None


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = _load_any_key(pem)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise PkiError("the private key is not an elliptic-curve key")
    return key
