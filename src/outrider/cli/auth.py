"""`outrider auth`: who may do what in a cluster, and why."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from outrider.cli.admin import management_kubeconfig

if TYPE_CHECKING:
    from outrider.features.rbac.explain import Reason


@click.group()
@management_kubeconfig
def auth() -> None:
    """Say who may do what, from the bindings of the management cluster; what a cluster binds itself is not seen."""


@auth.command("who-can")
@click.argument("verb")
@click.argument("resource")
@click.option("--cluster", default="local", show_default=True, help="Id of the cluster.")
@click.option("--project", default="", help="Ask for the namespaces of a project, not for all.")
@click.option("--api-group", default="", help="API group of the resource. Default: the core group.")
@click.option("--name", default="", help="One object only.")
@click.pass_obj
def who_can(kubeconfig: Path, /, verb: str, resource: str, **where: str) -> None:
    """List everybody who may do VERB on RESOURCE, with the binding and the roles that grant it."""
    _print(_reasons(kubeconfig, verb, resource, **where), f"nobody may {verb} {resource}")


@auth.command("why")
@click.argument("user")
@click.argument("verb")
@click.argument("resource")
@click.option("--group", "groups", multiple=True, help="A group that the user is in; may be repeated.")
@click.option("--cluster", default="local", show_default=True, help="Id of the cluster.")
@click.option("--project", default="", help="Ask for the namespaces of a project, not for all.")
@click.option("--api-group", default="", help="API group of the resource. Default: the core group.")
@click.option("--name", default="", help="One object only.")
@click.pass_obj
def why(
    kubeconfig: Path, /, user: str, verb: str, resource: str, groups: tuple[str, ...], **where: str
) -> None:
    """Say which bindings let USER (the name of the User object) do VERB on RESOURCE."""
    from outrider.features.rbac.explain import concerns

    found = _reasons(kubeconfig, verb, resource, **where)
    mine = [one for one in found if concerns(one, user, frozenset(groups))]
    _print(mine, f"no binding lets {user} {verb} {resource}")


def _print(found: list[Reason], nothing: str) -> None:
    if not found:
        raise click.ClickException(nothing)
    for line in sorted(map(str, found)):
        click.echo(line)


def _reasons(
    path: Path, verb: str, resource: str, *, cluster: str, project: str, api_group: str, name: str
) -> list[Reason]:
    from outrider.features.rbac.explain import Question, reasons
    from outrider.features.rbac.snapshots import read_world
    from outrider.kube import kubeconfig
    from outrider.kube.client import Client
    from outrider.kube.errors import KubeError
    from outrider.kube.transport import HttpTransport

    async def run() -> list[Reason]:
        transport = HttpTransport(kubeconfig.load(path))
        try:
            world = await read_world(Client(transport))
        finally:
            await transport.close()
        if cluster not in world.clusters:
            raise click.ClickException(f"there is no cluster {cluster!r}: name its id, such as c-abcde")
        question = Question(verb, resource, group=api_group, name=name, project=project)
        return list(reasons(world, cluster, question))

    if not path.exists():
        raise click.ClickException(f"{path} does not exist: is `outrider up` running on that data folder?")
    try:
        return asyncio.run(run())
    except (KubeError, kubeconfig.KubeconfigError) as error:
        raise click.ClickException(str(error)) from None
