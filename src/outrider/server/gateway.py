"""Entry of the gateway process: `python -m outrider.server.gateway CONFIG.json`."""

import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from outrider.gateway.config import GatewayConfig
from outrider.gateway.entrance import fitting, take_descriptors
from outrider.gateway.program import Gateway

ACCOUNT_SECONDS = 120.0
"""Seconds that control has to write the gateway's account."""


async def serve(config: GatewayConfig) -> None:
    """Runs the gateway until SIGTERM or SIGINT."""
    await _account(Path(config.kubeconfig))
    gateway = Gateway(config)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(pass_over_strangers)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, gateway.stop)
    await gateway.run()


async def _account(path: Path) -> None:
    async with asyncio.timeout(ACCOUNT_SECONDS):
        # It appears by a rename in the control process.
        while not path.exists():  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.02)


def pass_over_strangers(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Reports what goes wrong in callbacks, but not that somebody's TLS handshake failed: anybody can do that."""
    if str(context.get("message", "")).startswith("SSL handshake failed"):
        logging.getLogger("outrider.gateway").debug("a TLS handshake failed: %s", context.get("exception"))
        return
    loop.default_exception_handler(context)


def main() -> None:
    """Reads the configuration file named on the command line and serves."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("aiofastnet").setLevel(
        logging.CRITICAL
    )  # it reports every failed handshake of a stranger
    config = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=GatewayConfig)
    limits = fitting(config.connections, take_descriptors())
    uvloop.run(serve(msgspec.structs.replace(config, connections=limits)))


if __name__ == "__main__":
    main()
