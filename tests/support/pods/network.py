"""The node's network: a bridge with an address, below which pods get theirs."""

from __future__ import annotations

import asyncio
from pathlib import Path

BRIDGE = "pods0"
ADDRESS = "10.244.0.1"
"""Of the bridge: where pods reach the API server, and the front door."""
POD_RANGE = "10.244.0.0/24"


async def prepare() -> None:
    """Sets the namespace up; it is new and empty."""
    for command in (
        "ip link set lo up",
        f"ip link add name {BRIDGE} type bridge",
        f"ip address add {ADDRESS}/24 dev {BRIDGE}",
        f"ip link set {BRIDGE} up",
        # A default route, as every machine has; nothing is behind it.
        f"ip route add default via 10.244.0.254 dev {BRIDGE}",
    ):
        await _run(*command.split())
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def plugins() -> dict[str, object]:
    """How containerd gives a pod its address (CNI 0.4 network configuration list)."""
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": POD_RANGE, "rangeStart": "10.244.0.10", "gateway": ADDRESS}]],
            "routes": [{"dst": "0.0.0.0/0", "gw": ADDRESS}],
        },
    }
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {output.decode().strip()}")
