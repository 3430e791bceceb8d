"""`outrider server`: the management plane on a Kubernetes that is there already."""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path
from typing import Any

import click

from outrider.cli.audit_options import take_audit_options
from outrider.cli.options import addresses, front_door


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
    default=socket.gethostname,
    help="This server's name among all replicas.",
)
@front_door
def server(kubeconfig: Path | None, data: Path, replica: str, **options: Any) -> None:
    """Run one server replica in the foreground."""
    from outrider.server.config import ControlConfig, ServingConfig
    from outrider.server.instance import settings_of
    from outrider.server.replica import ReplicaConfig

    folder = data.absolute()
    listen = addresses(options["listen"] or (("0.0.0.0", 8443),), options["listen_http"])  # noqa: S104
    config = ReplicaConfig(
        folder=folder,
        listen=listen,
        silence=options["tunnel_silence"],
        trusted_proxies=options["trusted_proxies"],
        audit=take_audit_options(options).config(folder, folder / "audit" / "audit.log"),
        control=ControlConfig(
            folder=folder,
            kubeconfig=str(kubeconfig or ""),
            replica=replica,
            default_url=options["server_url"],
            serving=ServingConfig(
                certificate=options["tls_cert"], key=options["tls_key"], ca=options["tls_ca"]
            ),
            environ=settings_of(),
        ),
    )
    raise SystemExit(asyncio.run(_run(config)))


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
