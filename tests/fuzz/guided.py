"""A tunnel's end fed by a coverage-guided fuzzer: `python -m tests.fuzz.guided server|agent [libFuzzer options]`.

Needs atheris, which has no build for every system: `tests/fuzz/test_guided.py` runs it where it is installed.
"""

from __future__ import annotations

import asyncio
import logging
import sys

import atheris

with atheris.instrument_imports(include=["outrider.tunnel", "outrider.kit"]):
    from outrider.kit import http1
    from outrider.tunnel.frames import Request
    from tests.support.tunnels import Heard, Tunnel, feed  # brings the ends of a tunnel along
    from tests.support.wire import Script

GET = Request(b"GET /x HTTP/1.1\r\n")
SEPARATOR = b"\xff\xfe\xfd"
"""Between two WebSocket messages of one input."""


class Guided:
    """One input is a whole tunnel's life: some requests are open, the messages come, nothing but a refusal happens."""

    def __init__(self, role: str) -> None:
        self._role = role
        self._loop = asyncio.new_event_loop()

    def __call__(self, data: bytes) -> None:
        """One input; raises AssertionError when something passed that must not."""
        self._loop.run_until_complete(self._live(data))

    async def _live(self, data: bytes) -> None:
        script = Script()
        tunnel = Tunnel(script)
        heard = [Heard() for _ in range(3)]
        for one, upgrade in zip(heard, (b"", b"", b"websocket"), strict=True):
            tunnel.server.open(Request(GET.head, 0, upgrade), b"{}", one)
        end = tunnel.server if self._role == "server" else tunnel.agent
        for message in data.split(SEPARATOR):
            feed(end, message)
        await asyncio.sleep(0)
        for one in heard:
            assert http1.well_formed(one.lines)
            assert http1.well_formed(one.trailers)
        for call in script.calls:
            assert http1.forwardable(call.request.head, call.request.upgrade)
            assert call.resets <= 1
        tunnel.down.lose()
        tunnel.up.lose()
        await asyncio.sleep(0)


def main() -> None:
    """Fuzzes until libFuzzer's options say stop."""
    role, *options = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    atheris.Setup([sys.argv[0], *options], Guided(role))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
