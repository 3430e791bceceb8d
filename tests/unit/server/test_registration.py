"""What the API server is told to ask, and what holds when it is not."""

from __future__ import annotations

from outrider.apis.admission import AdmissionRequest, Denial, Guard
from outrider.apis.management import GLOBAL_ROLES, ROLE_TEMPLATES
from outrider.server.api_door import Trust, trust_of
from outrider.server.api_target import Target
from outrider.server.registration import covers, fallback, webhooks


async def judge(request: AdmissionRequest) -> Denial | None:
    return None


GUARDS = (
    Guard("roles", (GLOBAL_ROLES,), judge),
    Guard("removals", (ROLE_TEMPLATES,), judge, ("DELETE",)),
)


def test_every_webhook_fails_closed_and_spares_the_server_itself() -> None:
    made = webhooks(GUARDS, 'odd"name', Target("door", "ns", 9443), "CA")
    assert [one["name"] for one in made["webhooks"]] == [
        "roles.outrider.cattle.io",
        "removals.outrider.cattle.io",
    ]
    for one in made["webhooks"]:
        assert (one["failurePolicy"], one["sideEffects"], one["timeoutSeconds"]) == ("Fail", "None", 10)
        assert one["matchConditions"][0]["expression"] == 'request.userInfo.username != "odd\\"name"'
        (expression,) = one["namespaceSelector"]["matchExpressions"]
        assert (expression["operator"], expression["values"]) == ("NotIn", ["kube-system"])
        resources = {resource for rule in one["rules"] for resource in rule["resources"]}
        assert not resources & {"*", "leases"}
    assert made["webhooks"][0]["clientConfig"] == {
        "caBundle": "Q0E=",
        "service": {"name": "door", "namespace": "ns", "port": 9443, "path": "/admission/roles"},
    }


def test_the_policy_denies_the_same_writes_while_nothing_is_registered() -> None:
    policy, binding = fallback(GUARDS, "me")
    asked = [
        rule for one in webhooks(GUARDS, "me", Target("d", "n", 1), "")["webhooks"] for rule in one["rules"]
    ]
    assert policy["spec"]["matchConstraints"]["resourceRules"] == asked
    assert policy["spec"]["failurePolicy"] == "Fail"
    assert binding["spec"]["paramRef"] == {"name": "outrider", "parameterNotFoundAction": "Deny"}
    (check,) = policy["spec"]["validations"]
    assert '"removals.outrider.cattle.io"' in check["expression"]


def test_what_the_api_server_adds_is_no_difference() -> None:
    wanted = {"a": [{"b": 1}], "c": "x"}
    assert covers({"a": [{"b": 1, "added": 2}], "c": "x", "more": 3}, wanted)
    for held in (None, {}, {"a": [], "c": "x"}, {"a": [{"b": 2}], "c": "x"}, {"a": [{"b": 1}] * 2, "c": "x"}):
        assert not covers(held, wanted)


def test_whom_the_cluster_says_to_believe() -> None:
    data = {"requestheader-client-ca-file": "PEM", "requestheader-allowed-names": '["aggregator"]'}
    trust = trust_of({"data": data})
    assert trust == Trust("PEM", ("aggregator",))
    assert trust.trusts("aggregator")
    assert not trust.trusts("somebody")
    assert Trust("PEM").trusts("anybody"), "no names are every name of that authority"
    for broken in (None, {}, {"data": None}, {"data": {"requestheader-allowed-names": "{"}}):
        assert trust_of(broken) == Trust()
