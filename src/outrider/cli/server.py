"""`outrider server`: the management plane on a Kubernetes that is there already."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path
from typing import Any

import click

from outrider.cli.audit_options import take_audit_options
from outrider.cli.options import AddressType, ServiceType, addresses, connection_limits, front_door, serving
from outrider.server.api_target import ApiDoorConfig, Target


@click.command()
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    envvar="OUTRIDER_KUBECONFIG",
    help="Leads to the management cluster; without it the pod's own service account is used.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="OUTRIDER_DATA",
    default=Path("/var/lib/outrider"),
    show_default=True,
    help="A folder for sockets and logs; nothing in it need survive.",
)
@click.option(
    "--replica",
    envvar="OUTRIDER_REPLICA",
    default=lambda: socket.gethostname().lower(),
    help="This server's name among all replicas; the same after a restart. By default the host's name.",
)
@click.option(
    "--peer-address",
    type=AddressType(),
    envvar="OUTRIDER_PEER_ADDRESS",
    help="HOST:PORT at which the other replicas reach this one's gateway. By default a free port at the "
    "--listen address or, when that is every address, at the pod's or the machine's own.",
)
@click.option(
    "--api-address",
    type=AddressType(),
    envvar="OUTRIDER_API_ADDRESS",
    help="HOST:PORT at which the management cluster's API server calls this server, for admission and for its "
    "aggregated API. By default a free port, at an address chosen as for --peer-address.",
)
@click.option(
    "--api-service",
    type=ServiceType(),
    envvar="OUTRIDER_API_SERVICE",
    metavar="NAMESPACE/NAME:PORT",
    help="A Service that leads to --api-address of every replica. Without it, one of ours leads to the leader's.",
)
@click.option(
    "--lease-seconds",
    type=click.FloatRange(2.0, 300.0),
    envvar="OUTRIDER_LEASE_SECONDS",
    default=10.0,
    show_default=True,
    help="A leader that says nothing for this long is replaced.",
)
@front_door
def server(
    kubeconfig: Path | None,
    data: Path,
    replica: str,
    peer_address: tuple[str, int] | None,
    lease_seconds: float,
    **options: Any,
) -> None:
    """Run one server replica in the foreground."""
    from outrider.server.config import ControlConfig
    from outrider.server.instance import settings_of
    from outrider.server.replica import ReplicaConfig

    folder = data.absolute()
    listen = addresses(options["listen"] or (("0.0.0.0", 8443),), options["listen_http"])  # noqa: S104
    api = _api_door(
        _reach("--api-address", options["api_address"], listen[0].host, kubeconfig), options["api_service"]
    )
    config = ReplicaConfig(
        folder=folder,
        listen=listen,
        peer=_reach("--peer-address", peer_address, listen[0].host, kubeconfig),
        silence=options["tunnel_silence"],
        trusted_proxies=options["trusted_proxies"],
        connections=connection_limits(options),
        audit=take_audit_options(options).config(folder, folder / "audit" / "audit.log"),
        control=ControlConfig(
            folder=folder,
            kubeconfig=str(kubeconfig or ""),
            replica=replica,
            default_url=options["server_url"],
            lease_seconds=lease_seconds,
            api_door=api,
            removal_patience=options["removal_patience"],
            serving=serving(options),
            environ=settings_of(),
        ),
    )
    raise SystemExit(asyncio.run(_run(config)))


def _api_door(place: Any, service: Target | None) -> ApiDoorConfig:
    if service is None and ":" in place.host:
        raise click.UsageError(
            f"the API server cannot be led to {place.host}: a Service of type ExternalName takes no IPv6 address; "
            "name one of your own with --api-service, or another address with --api-address"
        )
    return ApiDoorConfig(listen=place.listen, port=place.port, host=place.host, service=service)


def _reach(option: str, given: tuple[str, int] | None, front: str, config: Path | None) -> Any:
    from outrider.kube import kubeconfig
    from outrider.kube.kubeconfig import KubeconfigError
    from outrider.server.reach import peer_address, source_address

    def source() -> str:
        access = kubeconfig.load(config) if config is not None else kubeconfig.in_cluster()
        return source_address(access.server)

    try:
        return peer_address(given, front, pod_ip=os.environ.get("POD_IP", ""), source=source)
    except (KubeconfigError, OSError, ValueError) as error:
        raise click.UsageError(
            f"cannot tell at which address this server can be reached ({error}); name it with {option}"
        ) from None


async def _run(config: Any) -> int:
    from outrider.server.replica import Replica, ReplicaError

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    replica = Replica(config)
    try:
        ports = await replica.start()
        click.echo(f"serving on {', '.join(map(str, ports))}")
        await stopping.wait()
    except (OSError, ReplicaError) as error:
        click.echo(f"Error: {error}", err=True)
        return 1
    finally:
        await replica.stop()
    return 0
