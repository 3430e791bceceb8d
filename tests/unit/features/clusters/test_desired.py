"""What every cluster is to hold: the agent, and its credentials under all their names."""

from __future__ import annotations

from outrider.delivery.entries import Entry
from outrider.features.clusters.desired import desired_entries
from outrider.features.clusters.manifest import AgentManifest, credentials_name, objects

AGENT = AgentManifest(server_url="https://h", token="b" * 54, image="x", cacerts="PEM")


def names(entries: list[Entry]) -> list[str]:
    return [entry.object["metadata"]["name"] for entry in entries]


def test_the_agent_and_its_credentials() -> None:
    other_token = "c" * 54
    former = {"cattle-credentials-0123456789": AGENT.token, "cattle-credentials-old": other_token}
    entries = desired_entries(AGENT, tokens=[AGENT.token, other_token], former_names=former)
    own = names([Entry(owner="x", object=obj) for obj in objects(AGENT)])
    assert names(entries) == [
        "cattle-impersonation-system",
        *own,
        credentials_name("https://h", other_token, ""),
        "cattle-credentials-0123456789",
        "cattle-credentials-old",
    ]
    found = {entry.object["metadata"]["name"]: entry.object for entry in entries}
    mine = found[credentials_name("https://h", AGENT.token, "")]
    assert found["cattle-credentials-0123456789"]["data"] == mine["data"]
    assert found["cattle-credentials-old"]["data"] != mine["data"]


def test_the_namespace_of_the_agent_is_never_deleted() -> None:
    released = [entry.object["metadata"]["name"] for entry in desired_entries(AGENT) if entry.release]
    assert released == ["cattle-system"]
