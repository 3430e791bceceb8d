"""Entry of the gateway process: `python -m outrider.server.gateway CONFIG.json`."""

import asyncio
import signal
import sys
from pathlib import Path

import msgspec
import uvloop

from outrider.gateway.program import Gateway, GatewayConfig


async def serve(config: GatewayConfig) -> None:
    """Runs the gateway until SIGTERM or SIGINT."""
    gateway = Gateway(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, gateway.stop)
    await gateway.run()


def main() -> None:
    """Reads the configuration file named on the command line and serves."""
    config = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=GatewayConfig)
    uvloop.run(serve(config))


if __name__ == "__main__":
    main()
