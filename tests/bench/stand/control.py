"""A control process that knows one token and one cluster: `python -m stand.control LINK CERT KEY`.

It speaks the link like the real one: beats, verdicts, admissions. The gateway beside it is the real program.
"""

import asyncio
import sys
from pathlib import Path

from outrider.kube.identity import Identity
from outrider.link.endpoint import Endpoint, LinkError, serve
from outrider.link.messages import Admission, Admit, Beat, Resolve, Serve, Verdict

TOKEN = "Bearer kubeconfig-u-alice:secret"
IDENTITY = Identity("u-alice", ("system:authenticated", "system:cattle:authenticated"))


def answer(message: object) -> Verdict | Admission | None:
    """What control says to a question."""
    match message:
        case Resolve() if message.credential == TOKEN:
            return Verdict(
                id=message.id,
                status=200,
                identity=IDENTITY,
                token="kubeconfig-u-alice",
                user="u-alice",
                generation=1,
                ttl=30.0,
            )
        case Resolve():
            return Verdict(id=message.id, status=401, ttl=1.0)
        case Admit():
            return Admission(
                id=message.id, status=200, cluster=message.params["cluster"]["name"], registration="r"
            )
    return None


async def converse(endpoint: Endpoint, material: Serve) -> None:
    """One gateway's link."""
    endpoint.send(material)

    async def beat() -> None:
        while True:
            endpoint.send(Beat(generation=1))
            await asyncio.sleep(1)

    beating = asyncio.create_task(beat())
    try:
        async for message in endpoint:
            reply = answer(message)
            if reply is not None:
                endpoint.send(reply)
    except LinkError:
        pass
    finally:
        beating.cancel()


async def main() -> None:
    link, certificate, key = sys.argv[1:]
    material = Serve(certificate=Path(certificate).read_text(), key=Path(key).read_text())
    await serve(link, lambda endpoint: converse(endpoint, material))
    await asyncio.Event().wait()


asyncio.run(main())
