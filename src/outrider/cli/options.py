"""Options that `up` and `server` share, each with its environment variable."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from outrider.cli.audit_options import audit_log
from outrider.gateway.config import Address, ConnectionLimits
from outrider.server.api_target import Target, named_service

if TYPE_CHECKING:
    from outrider.server.config import ServingConfig


class AddressType(click.ParamType[tuple[str, int]]):
    """`HOST:PORT`, an IPv6 host in brackets."""

    name = "address:port"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Splits and checks."""
        if isinstance(value, tuple):
            return value
        host, separator, port = str(value).rpartition(":")
        if not separator or not port.isdigit() or int(port) > 65535:
            self.fail(f"{value!r} is not ADDRESS:PORT, for example 127.0.0.1:8443 or [::1]:0", param, ctx)
        return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104  an empty host asks for all interfaces


class ServiceType(click.ParamType[Target]):
    """A Service and its port: NAMESPACE/NAME:PORT."""

    name = "service"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Target:
        """Splits and checks."""
        try:
            return value if isinstance(value, Target) else named_service(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class NetworkType(click.ParamType[str]):
    """An address or a network of addresses."""

    name = "network"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Checks; an address is a network of one."""
        try:
            return str(ipaddress.ip_network(str(value)))
        except ValueError as error:
            self.fail(
                f"{value!r} is not a network, for example 10.0.0.0/8 or 2001:db8::1: {error}", param, ctx
            )


def front_door(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of the front door."""
    path = click.Path(path_type=Path, exists=True, dir_okay=False)
    options = (
        click.option(
            "--listen",
            multiple=True,
            type=AddressType(),
            envvar="OUTRIDER_LISTEN",
            help="Serve HTTPS here; port 0 takes a free one. May be repeated.",
        ),
        click.option(
            "--listen-http",
            multiple=True,
            type=AddressType(),
            envvar="OUTRIDER_LISTEN_HTTP",
            help="Serve plain HTTP here, for a load balancer that ends TLS. May be repeated.",
        ),
        click.option(
            "--trusted-proxy",
            "trusted_proxies",
            multiple=True,
            type=NetworkType(),
            envvar="OUTRIDER_TRUSTED_PROXIES",
            metavar="NETWORK",
            help="Believe X-Forwarded-* from this network. May be repeated.",
        ),
        click.option(
            "--max-connections",
            type=click.IntRange(min=1),
            envvar="OUTRIDER_MAX_CONNECTIONS",
            default=ConnectionLimits().total,
            show_default=True,
            help="Connections that clients may have at once, fewer where the limit of open files is low; agents' "
            "tunnels do not count.",
        ),
        click.option(
            "--max-connections-per-address",
            type=click.IntRange(min=1),
            envvar="OUTRIDER_MAX_CONNECTIONS_PER_ADDRESS",
            default=ConnectionLimits().per_address,
            show_default=True,
            help="The same for one address (IPv6: one network of 64 bits) that is no trusted proxy's.",
        ),
        click.option("--tls-cert", type=path, envvar="OUTRIDER_TLS_CERT", help="Certificate chain, PEM."),
        click.option("--tls-key", type=path, envvar="OUTRIDER_TLS_KEY", help="Its private key, PEM."),
        click.option(
            "--tls-ca", type=path, envvar="OUTRIDER_TLS_CA", help="The CA that agents shall trust, PEM."
        ),
        click.option(
            "--server-url", envvar="OUTRIDER_SERVER_URL", default="", help="How clients reach this server."
        ),
        audit_log,
        click.option(
            "--tunnel-silence",
            type=click.FloatRange(min=0.5, max=3600.0),
            envvar="OUTRIDER_TUNNEL_SILENCE",
            default=22.0,
            show_default=True,
            help="Seconds without a sign of life after which an agent is taken for gone (its pings come every 5).",
        ),
        click.option(
            "--removal-patience",
            type=click.FloatRange(min=1.0, max=3600.0),
            envvar="OUTRIDER_REMOVAL_PATIENCE",
            default=50.0,
            show_default=True,
            help="Seconds in which the agent of a deleted cluster may begin to clean up before it is given up.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def addresses(
    listen: tuple[tuple[str, int], ...], listen_http: tuple[tuple[str, int], ...]
) -> tuple[Address, ...]:
    """All listening addresses, those with TLS first."""
    return (
        *(Address(host, port) for host, port in listen),
        *(Address(host, port, tls=False) for host, port in listen_http),
    )


def connection_limits(options: Mapping[str, Any]) -> ConnectionLimits:
    """How many clients may be connected."""
    return ConnectionLimits(
        total=options["max_connections"], per_address=options["max_connections_per_address"]
    )


def serving(options: Mapping[str, Any]) -> ServingConfig:
    """The front door's certificate as the options name it. Raises click.UsageError when it cannot be served."""
    from outrider.kit.pki import PkiError
    from outrider.server.config import ServingConfig
    from outrider.server.serving import ServingFiles

    certificate, key, ca = options["tls_cert"], options["tls_key"], options["tls_ca"]
    if (certificate is None) != (key is None):
        raise click.UsageError(
            "--tls-cert and --tls-key belong together: give both, or none for one of our own"
        )
    if certificate is None and ca is not None:
        raise click.UsageError("--tls-ca names the issuer of --tls-cert, which is missing")
    if certificate is not None:
        try:
            ServingFiles(certificate, key, ca).read()
        except (OSError, PkiError) as error:
            raise click.UsageError(f"the certificate cannot be served: {error}") from None
    return ServingConfig(certificate=certificate, key=key, ca=ca)
