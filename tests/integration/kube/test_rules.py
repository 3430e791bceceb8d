"""Rule coverage says what the API server's own authorizer says, for random rules and random questions."""

from __future__ import annotations

import asyncio
import random
from typing import Any
from uuid import uuid4

from outrider.kube.builtin import CLUSTERROLEBINDINGS, CLUSTERROLES
from outrider.kube.client import Client
from outrider.kube.identity import Identity
from outrider.kube.rules import own_rules

GROUPS = ("", "apps", "management.cattle.io", "*")
RESOURCES = ("pods", "pods/log", "clusters", "clusters/status", "*/status", "*")
VERBS = ("get", "list", "update", "patch", "delete", "*")
NAMES = ("", "a", "b")
PEOPLE, QUESTIONS = 12, 60
RBAC = "rbac.authorization.k8s.io"


def some(choice: random.Random, among: tuple[str, ...]) -> list[str]:
    return choice.sample(among, choice.choice((1, 1, 2)))


def random_rule(choice: random.Random) -> dict[str, Any]:
    rule = {
        "apiGroups": some(choice, GROUPS),
        "resources": some(choice, RESOURCES),
        "verbs": some(choice, VERBS),
    }
    if choice.random() < 0.5:
        rule["resourceNames"] = some(choice, ("a", "b", "c"))
    return rule


async def test_own_rules_agree_with_the_authorizer(admin: Client) -> None:
    seed = random.randrange(1 << 32)
    choice = random.Random(seed)
    people = [f"user-{uuid4().hex[:8]}" for _ in range(PEOPLE)]
    for name in people:
        rules = [random_rule(choice) for _ in range(choice.randrange(4))]
        # the last one to arrive tells that all have
        rules.append({"apiGroups": ["test"], "resources": ["arrived"], "verbs": ["get"]})
        await admin.create(CLUSTERROLES, {"metadata": {"name": name}, "rules": rules})
        await admin.create(
            CLUSTERROLEBINDINGS,
            {
                "metadata": {"name": name},
                "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
                "subjects": [{"apiGroup": RBAC, "kind": "User", "name": name}],
            },
        )
    disagreements = await asyncio.gather(*(disagreements_of(admin, name, choice) for name in people))
    assert [one for part in disagreements for one in part] == [], f"seed {seed}"


async def disagreements_of(admin: Client, name: str, choice: random.Random) -> list[str]:
    identity = Identity(name, ("system:authenticated",))
    user = admin.as_user(identity)
    async with asyncio.timeout(10):
        while not (rules := await own_rules(user)).allows("get", "test", "arrived"):
            await asyncio.sleep(0.05)
    found = []
    for _ in range(QUESTIONS):
        verb, group = choice.choice(VERBS[:-1]), choice.choice(GROUPS[:-1])
        resource, named = choice.choice(RESOURCES[:4]), choice.choice(NAMES)
        ours = rules.allows(verb, group, resource, named)
        if ours != await allowed(admin, identity, verb, group, resource, named):
            found.append(f"{verb} {group}/{resource} {named!r}: we say {ours}, of {list(rules)}")
    return found


async def allowed(admin: Client, who: Identity, verb: str, group: str, resource: str, name: str) -> bool:
    plural, _, subresource = resource.partition("/")
    attributes = {
        "verb": verb,
        "group": group,
        "resource": plural,
        "subresource": subresource,
        "name": name,
    }
    answer = await admin.post(
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": who.user, "groups": list(who.groups), "resourceAttributes": attributes},
        },
    )
    return answer["status"].get("allowed") is True
