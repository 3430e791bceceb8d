"""`outrider up`: the management plane on its embedded Kubernetes, in the foreground."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from outrider.cli.audit_options import take_audit_options
from outrider.cli.options import addresses, connection_limits, front_door, serving


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="OUTRIDER_DATA",
    default=Path(".outrider"),
    show_default=True,
    help="The folder that holds everything; made if it is missing.",
)
@click.option(
    "--demo",
    type=click.IntRange(0, 16),
    envvar="OUTRIDER_DEMO",
    default=0,
    help="Start and import N real clusters.",
)
@click.option(
    "--ready-file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="OUTRIDER_READY_FILE",
    help="Write what scripts need (JSON) once everything is ready.",
)
@front_door
def up(data: Path, demo: int, ready_file: Path | None, **options: Any) -> None:
    """Start the management plane on its own embedded Kubernetes; Ctrl-C stops it and loses nothing."""
    from outrider.server.instance import InstanceConfig

    listen = options["listen"] or (("127.0.0.1", 8443),)
    config = InstanceConfig(
        data=data.absolute(),
        listen=addresses(listen, options["listen_http"]),
        demo=demo,
        server_url=options["server_url"],
        serving=serving(options),
        trusted_proxies=options["trusted_proxies"],
        connections=connection_limits(options),
        audit=take_audit_options(options),
        silence=options["tunnel_silence"],
        removal_patience=options["removal_patience"],
    )
    raise SystemExit(asyncio.run(_run(config, ready_file)))


async def _run(config: Any, ready_file: Path | None) -> int:
    from outrider.kube.embedded.binary import BinaryNotFoundError
    from outrider.kube.embedded.layout import DataFolderInUseError
    from outrider.kube.embedded.process import ProcessFailedError
    from outrider.kube.errors import KubeError
    from outrider.server.demo import DemoError
    from outrider.server.entry import EntryError
    from outrider.server.instance import Instance
    from outrider.server.replica import ReplicaError

    began = time.monotonic()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    if ready_file is not None:
        await asyncio.to_thread(ready_file.unlink, missing_ok=True)
    instance = Instance(config, lambda line: click.echo(f"{time.monotonic() - began:5.1f} s  {line}"))
    starting = asyncio.create_task(instance.start())
    interrupted = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait((starting, interrupted), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return 130
        summary = starting.result()
        if ready_file is not None:
            await asyncio.to_thread(_write, ready_file, summary)
        click.echo(_greeting(summary, time.monotonic() - began))
        await interrupted
        click.echo("stopping")
    except (
        BinaryNotFoundError,
        DataFolderInUseError,
        DemoError,
        EntryError,
        KubeError,
        OSError,
        ProcessFailedError,
        ReplicaError,
    ) as error:
        click.echo(f"Error: {error}", err=True)
        return 1
    finally:
        interrupted.cancel()
        await instance.stop()
    return 0


def _write(path: Path, summary: dict[str, Any]) -> None:
    partial = path.with_name(path.name + ".new")
    partial.touch(mode=0o600)
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(summary)) + b"\n")
    partial.rename(path)


def _greeting(summary: dict[str, Any], seconds: float) -> str:
    lines = [
        f"{seconds:5.1f} s  ready",
        "",
        f"  URL       {summary['url']}",
        f"  user      {summary['username']}",
        f"  password  {summary['bootstrap_password'] or 'the one that you chose'}",
        "",
        "Try, in another terminal:",
        f"  kubectl --kubeconfig {summary['admin_kubeconfig']} get clusters.management.cattle.io",
    ]
    lines += [
        f"  kubectl --kubeconfig {cluster['kubeconfig']} get namespaces    # {cluster['name']}, through its tunnel"
        for cluster in summary["clusters"]
    ]
    return "\n".join([*lines, "", "Ctrl-C stops everything; the next start finds its state.", ""])
