"""`outrider admin`: what only somebody on the server's own machine may do."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from outrider.features.auth.bootstrap import Bootstrap

_MANAGEMENT = Path("server/management.kubeconfig")


def management_kubeconfig(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that say where the management cluster is; sub-commands are given its kubeconfig."""

    @click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="OUTRIDER_DATA",
        default=Path(".outrider"),
        show_default=True,
        help="The data folder of a running `outrider up`.",
    )
    @click.option(
        "--kubeconfig",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        envvar="OUTRIDER_KUBECONFIG",
        help="The management cluster, when it is not the embedded one.",
    )
    @click.pass_context
    @functools.wraps(command)
    def within(ctx: click.Context, data: Path, kubeconfig: Path | None) -> None:
        ctx.obj = kubeconfig or data.absolute() / _MANAGEMENT
        command()

    return within


@click.group()
@management_kubeconfig
def admin() -> None:
    """Break-glass commands; they speak to the management cluster directly."""


@admin.command("reset-password")
@click.pass_obj
def reset_password(kubeconfig: Path) -> None:
    """Give the default administrator a new password and print it."""
    click.echo(_with(kubeconfig, lambda bootstrap: bootstrap.reset_password()))


@admin.command("ensure-default-admin")
@click.pass_obj
def ensure_default_admin(kubeconfig: Path) -> None:
    """Make the default administrator, or give it its rights back."""

    async def ensure(bootstrap: Bootstrap) -> str:
        return (await bootstrap.ensure_default_admin()).metadata.name

    click.echo(_with(kubeconfig, ensure))


def _with(path: Path, work: Callable[[Bootstrap], Awaitable[str]]) -> str:
    from outrider.features.auth.errors import AuthError
    from outrider.features.auth.rescue import stand_alone_bootstrap
    from outrider.kube import kubeconfig
    from outrider.kube.client import Client
    from outrider.kube.errors import KubeError
    from outrider.kube.transport import HttpTransport

    async def run() -> str:
        transport = HttpTransport(kubeconfig.load(path))
        try:
            return await work(stand_alone_bootstrap(Client(transport), os.environ))
        finally:
            await transport.close()

    if not path.exists():
        raise click.ClickException(f"{path} does not exist: is `outrider up` running on that data folder?")
    try:
        return asyncio.run(run())
    except (AuthError, KubeError, kubeconfig.KubeconfigError) as error:
        raise click.ClickException(str(error)) from None
