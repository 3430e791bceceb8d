"""The command `outrider`. Sub-commands live in modules of their own and import what they need when they run."""

import click

from outrider import __version__
from outrider.cli.admin import admin
from outrider.cli.agent import agent
from outrider.cli.auth import auth
from outrider.cli.server import server
from outrider.cli.up import up


@click.group()
@click.version_option(__version__, prog_name="outrider")
def main() -> None:
    """A light management plane for fleets of Kubernetes clusters."""


main.add_command(up)
main.add_command(server)
main.add_command(agent)
main.add_command(admin)
main.add_command(auth)
