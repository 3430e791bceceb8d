"""What differs between installations."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class ClustersConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between installations and tests. Intervals are in seconds.

    Attributes:
        replica: unique among the servers of an installation, and the same after a restart.
        embedded: the management cluster is our own, not one that we were installed in.
        settle: how long after a start nothing is published, so that the gateway can tell its tunnels.
        return_grace: for how long agents of a gateway or server that ended count as connected, to come back.
        publish_interval, session_expiry: renewal of a replica's sessions, and when they count as dead.
        inventory_pause: least time between two writes of one cluster's inventory.
        removal_patience: how long the agent of a deleted cluster is waited for.
        collect_interval: between two looks for what belongs to no cluster any more; two are needed.
        remember: how long a deleted cluster's agent is told from a stranger; of more than `remembered`, the
            oldest are forgotten.
    """

    replica: str
    embedded: bool = True
    environ: Mapping[str, str] = {}
    settle: float = 2.0
    return_grace: float = 20.0
    publish_interval: float = 10.0
    session_expiry: float = 30.0
    inventory_pause: float = 10.0
    local_interval: float = 15.0
    removal_patience: float = 50.0
    collect_interval: float = 60.0
    remember: float = 90 * 86400.0
    remembered: int = 1000
    import_rate: float = 2.0
    import_burst: int = 60
