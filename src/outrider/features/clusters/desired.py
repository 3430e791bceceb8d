"""What the server wants in every cluster on behalf of this feature. Pure: names and settings in, objects out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from outrider.delivery.entries import Entry
from outrider.features.clusters.manifest import NAMESPACE, AgentManifest, credentials, objects

OWNER: Final = "clusters"
IMPERSONATION_NAMESPACE: Final = "cattle-impersonation-system"


def desired_entries(
    agent: AgentManifest,
    *,
    tokens: Sequence[str] = (),
    former_names: Mapping[str, str] | None = None,
) -> list[Entry]:
    """All that this feature wants in one cluster.

    The agent itself, as its manifest made it: what was taken away comes back, and another image is an
    upgrade. The credential of every other registration that is good, for agents that were deployed with it,
    is there under its own name, and `former_names` (name → token) lead to the present token: an agent that
    was deployed with an earlier one finds the present one where it looks.
    """
    own = objects(agent)
    known = {obj["metadata"]["name"] for obj in own if obj["kind"] == "Secret"}
    others = [_named_credential(agent, token) for token in tokens]
    others += [
        _renamed(_named_credential(agent, token), name) for name, token in (former_names or {}).items()
    ]
    more = [secret for secret in others if secret["metadata"]["name"] not in known]
    wanted = [*own, *{one["metadata"]["name"]: one for one in more}.values()]
    return [impersonation_namespace(), *(_entry(obj) for obj in wanted)]


def impersonation_namespace() -> Entry:
    """The namespace of the accounts through which users act."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": IMPERSONATION_NAMESPACE}}
    return _entry(namespace)


def _entry(obj: dict[str, Any]) -> Entry:
    # The agent's own namespace holds what it knows: it must not go while the agent still has work to do
    return Entry(
        owner=OWNER, object=obj, release=(obj["kind"], obj["metadata"]["name"]) == ("Namespace", NAMESPACE)
    )


def _named_credential(agent: AgentManifest, token: str) -> dict[str, Any]:
    return credentials(msgspec.structs.replace(agent, token=token))[0]


def _renamed(secret: dict[str, Any], name: str) -> dict[str, Any]:
    return {**secret, "metadata": {**secret["metadata"], "name": name}}
