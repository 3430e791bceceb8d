"""`outrider agent`: the program in a managed cluster, configured by the environment of its manifest."""

import logging
import os
import sys

import click


@click.command()
def agent() -> None:
    """Connect this cluster to the management plane.

    Everything comes from the environment that the registration manifest sets (CATTLE_SERVER, CATTLE_CA_CHECKSUM, …)
    and from mounted files; see the reference of the agent.
    """
    import uvloop

    from outrider.agent.errors import SettingsError
    from outrider.agent.program import run
    from outrider.agent.settings import from_environment

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = from_environment(os.environ)
        code = uvloop.run(run(settings))
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    sys.exit(code)
