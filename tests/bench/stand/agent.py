"""An agent with a fixed credential: `python -m stand.agent URL CA API_SERVER CLUSTER [COUNT]`.

The tunnel and the pool are the real ones; only the source of credentials differs, since the stub API server of the
yardstick has no service accounts. COUNT opens that many tunnels, for CLUSTER0, CLUSTER1, ….
"""

import asyncio
import base64
import json
import ssl
import sys
from urllib.parse import urlsplit

import aiofastnet
import uvloop

from outrider.tunnel.agent import AgentSession
from outrider.tunnel.exchange import CredentialSource
from outrider.tunnel.pool import UpstreamPool
from outrider.tunnel.session import dial


class Fixed(CredentialSource):
    """The header lines that the stub API server wants."""

    def __init__(self) -> None:
        self._blocks: dict[bytes, bytes] = {}

    def header_block(self, claim: bytes) -> bytes | None:
        block = self._blocks.get(claim)
        if block is None:
            identity = json.loads(claim)
            lines = ["Authorization: Bearer impersonator-sa", f"Impersonate-User: {identity['user']}"]
            lines += [f"Impersonate-Group: {group}" for group in identity["groups"]]
            block = self._blocks[claim] = "".join(line + "\r\n" for line in lines).encode()
        return block

    async def prepare(self, claim: bytes) -> bytes:
        raise AssertionError("never needed")

    def rejected(self, claim: bytes) -> bool:
        return False


async def main() -> None:
    url, ca, server, cluster = sys.argv[1:5]
    count = int(sys.argv[5]) if len(sys.argv) > 5 else 0
    loop = asyncio.get_running_loop()
    context = ssl.create_default_context(cafile=ca)
    address = urlsplit(server)

    async def connect(factory):
        _, protocol = await aiofastnet.create_connection(
            loop, factory, address.hostname, address.port, ssl=context, server_hostname=address.hostname
        )
        return protocol

    pool = UpstreamPool(connect, Fixed(), host=address.netloc)
    names = [cluster] if not count else [f"{cluster}{n}" for n in range(count)]
    sessions = []
    for number, name in enumerate(names):
        params = base64.b64encode(json.dumps({"cluster": {"name": name}}).encode()).decode()
        headers = {"X-API-Tunnel-Token": "agent-token", "X-API-Tunnel-Params": params}
        sessions.append(await dial(url, context, headers, AgentSession(pool, lambda session, body: None)))
        if number % 20 == 19:
            await asyncio.sleep(0.05)
    await asyncio.gather(*(keep(session) for session in sessions))


async def keep(session: AgentSession) -> None:
    while not session.closed.done():
        await asyncio.sleep(5)
        session.ping()


uvloop.run(main())
