"""From the registration command to an active cluster, the agent a real pod whose image the node has.

Each round imports the same cluster anew, under another record. Needs root, as the tests with pods do; without it
prints why and measures nothing.
"""

import json
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from outrider.kube.embedded.binary import find_binary
from tests.support.imported import import_cluster
from tests.support.instance import Instance
from tests.support.kubectl import Kubectl
from tests.support.pods import needs
from tests.support.pods.network import ADDRESS
from tests.support.pods.node import RunningNode
from tools.image.build import Builder
from tools.setup.places import checkout

ROUNDS = 5


def main() -> int:
    """Measure; the exit status."""
    reason = needs.lacking()
    if reason:
        print(f"bench import: {reason}", file=sys.stderr)
        return 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="outrider-bench-")))
        seconds = measure(folder, stack)
    report(seconds)
    return 0


def measure(folder: Path, stack: ExitStack) -> list[float]:
    """Seconds of each round."""
    places = checkout()
    images = Builder(places.root, places.cache / "images")
    for name in ("node", "server"):
        (folder / name).mkdir()
    node = RunningNode(folder / "node", find_binary(), [images.pause(), images.agent()])
    stack.callback(node.stop)
    server = Instance(folder / "server", "--listen", f"{ADDRESS}:0", within=node.inside())
    server.start()
    stack.callback(server.stop)
    direct = Kubectl(Path(sys.executable).with_name("kubectl"), node.kubeconfig, folder, node.inside())
    management = direct.at(server.ready["admin_kubeconfig"])
    return [once(management, direct, folder, number) for number in range(ROUNDS)]


def once(management: Kubectl, direct: Kubectl, folder: Path, number: int) -> float:
    """One import, undone afterwards."""
    imported = import_cluster(management, direct, f"round-{number}", folder)
    management("delete", "--wait=false", "clusters.management.cattle.io", imported.id)
    direct("delete", "namespace", "cattle-system")
    return imported.seconds


def report(seconds: list[float]) -> None:
    """One JSON object."""
    result = {
        "bench": "import",
        "case": "apply-to-active",
        "rate": round(1 / statistics.mean(seconds), 2),
        "p50_ms": round(statistics.median(seconds) * 1000),
        "p99_ms": round(max(seconds) * 1000),
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    sys.exit(main())
