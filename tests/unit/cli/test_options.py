from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from outrider.cli.main import main
from outrider.cli.options import addresses, front_door, serving
from outrider.kit import pki


@click.command()
@front_door
def probe(**options: object) -> None:
    config = serving(options)
    click.echo(
        f"{addresses(options['listen'], options['listen_http'])} {options['trusted_proxies']} {config}"
    )


def say(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(probe, [str(argument) for argument in arguments])
    return done.exit_code, done.output


@pytest.fixture
def files(tmp_path: Path) -> Path:
    authority = pki.create_authority("test", now=datetime.now(UTC))
    credential = pki.issue_server(authority, "test", now=datetime.now(UTC), dns=["a.test"], ips=[])
    (tmp_path / "crt").write_bytes(credential.cert_pem)
    (tmp_path / "key").write_bytes(credential.key_pem)
    (tmp_path / "ca").write_bytes(authority.cert_pem)
    return tmp_path


def test_addresses_and_networks():
    code, said = say("--listen", "[::1]:0", "--listen", ":8443", "--trusted-proxy", "10.0.0.1")
    assert code == 0
    assert "host='::1', port=0" in said
    assert "host='0.0.0.0', port=8443" in said
    assert "('10.0.0.1/32',)" in said


@pytest.mark.parametrize("network", ["everybody", "10.0.0.1/8", "", "10.0.0.0/33", "::/200"])
def test_what_is_no_network(network):
    code, said = say("--trusted-proxy", network)
    assert code == 2
    assert "is not a network, for example" in said


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:-1", ""])
def test_what_is_no_address(address):
    code, said = say("--listen", address)
    assert code == 2
    assert "ADDRESS:PORT" in said


def test_a_certificate(files):
    code, said = say("--tls-cert", files / "crt", "--tls-key", files / "key", "--tls-ca", files / "ca")
    assert code == 0, said
    assert str(files / "ca") in said
    assert say()[0] == 0


def test_a_certificate_whose_key_is_rsa(files):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a.test")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    certificate = (
        builder.serial_number(1).not_valid_before(now).not_valid_after(now).sign(key, hashes.SHA256())
    )
    (files / "crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (files / "key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    code, said = say("--tls-cert", files / "crt", "--tls-key", files / "key")
    assert code == 0, said


def test_halves_of_a_certificate(files):
    for arguments in (
        ["--tls-cert", files / "crt"],
        ["--tls-key", files / "key"],
        ["--tls-ca", files / "ca"],
    ):
        code, said = say(*arguments)
        assert code == 2
        assert "--tls-" in said


@pytest.mark.parametrize("broken", ["crt", "key", "ca"])
@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n", b"\xff\xfe"],
)
def test_what_cannot_be_served_is_named(files, broken, content):
    (files / broken).write_bytes(content)
    code, said = say("--tls-cert", files / "crt", "--tls-key", files / "key", "--tls-ca", files / "ca")
    assert code == 2
    assert "the certificate cannot be served" in said
    assert f"{files}/" in said.replace("\n", "")
    assert "PRIVATE KEY" not in said


@pytest.mark.parametrize("command", ["up", "server", "admin"])
def test_every_flag_has_its_variable(command):
    options = [one for one in main.commands[command].params if isinstance(one, click.Option)]
    assert options
    for option in options:
        variables = [option.envvar] if isinstance(option.envvar, str) else list(option.envvar or ())
        assert any(name.startswith("OUTRIDER_") for name in variables), option.name


@pytest.mark.parametrize("given", ["api", "a/b", "a/b:", "a/b:0", "a/b:70000", "/b:443", "a/:443"])
def test_a_service_for_the_api_servers_calls_is_namespace_name_and_port(given: str) -> None:
    done = CliRunner().invoke(main, ["server", "--api-service", given])
    assert done.exit_code == 2
    assert "is not NAMESPACE/NAME:PORT, for example cattle-system/outrider-api:443" in done.output


def test_the_api_server_is_not_led_to_an_address_that_no_service_can_name() -> None:
    done = CliRunner().invoke(main, ["server", "--kubeconfig", __file__, "--api-address", "[::1]:9000"])
    assert done.exit_code == 2
    assert "a Service of type ExternalName takes no IPv6 address" in done.output
