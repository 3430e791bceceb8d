"""Rules that CEL can check but a CRD cannot hold, because they speak of metadata (spec: clusters §1.9).

They are ValidatingAdmissionPolicies (KEP-3488), which the API server evaluates by itself: they hold for
every client and need no webhook of ours. What they cannot see is judged by guards (`apis/admission.py`).
"""

import json
from dataclasses import dataclass
from typing import Any

from outrider.apis.management.cluster import CLUSTERS
from outrider.apis.management.group import (
    CREATOR_ID,
    CREATOR_PRINCIPAL_NAME,
    LOCAL_CLUSTER,
    NO_CREATOR_RBAC,
)
from outrider.apis.management.registration_token import REGISTRATION_TOKENS
from outrider.apis.provisioning.cluster import PROVISIONING_CLUSTERS
from outrider.kube.kind import Kind

VERSION_MANAGEMENT = "rancher.io/imported-cluster-version-management"

_API = "admissionregistration.k8s.io/v1"
_IS_NEW = "oldObject == null"


def _annotations(variable: str) -> str:
    return f"has({variable}.metadata.annotations) ? {variable}.metadata.annotations : {{}}"


@dataclass(frozen=True)
class Check:
    """A CEL expression over `object`, `oldObject` and `variables`, and what is said when it is false.

    `says` is CEL for the message, where that tells more; `reason` gives the status: Invalid 422, Forbidden 403.
    """

    expression: str
    message: str
    says: str = ""
    reason: str = "Invalid"

    def to_json(self) -> dict[str, Any]:
        """The entry of `validations`."""
        entry = {"expression": self.expression, "message": self.message, "reason": self.reason}
        return entry | ({"messageExpression": self.says} if self.says else {})


@dataclass(frozen=True)
class Policy:
    """Checks on every creation and change of objects of some kinds.

    `variables` are CEL expressions by name. The server itself is exempt with `own_exempt`.
    """

    name: str
    kinds: tuple[Kind[Any], ...]
    checks: tuple[Check, ...]
    operations: tuple[str, ...] = ("CREATE", "UPDATE")
    variables: tuple[tuple[str, str], ...] = (
        ("now", _annotations("object")),
        ("before", f"{_IS_NEW} ? {{}} : {_annotations('oldObject')}"),
    )
    own_exempt: bool = False

    def objects(self, own: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The ValidatingAdmissionPolicy and the binding that puts it in force everywhere.

        `own` is the name of the user that the server is to the API server.
        """
        spec: dict[str, Any] = {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [matches(kind, self.operations) for kind in self.kinds]},
            "variables": [{"name": name, "expression": text} for name, text in self.variables],
            "validations": [check.to_json() for check in self.checks],
        }
        use: dict[str, Any] = {"policyName": self.name, "validationActions": ["Deny"]}
        if self.own_exempt:
            spec["matchConditions"] = [not_the_server(own)]
        policy = _object("ValidatingAdmissionPolicy", self.name, spec)
        return policy, _object("ValidatingAdmissionPolicyBinding", self.name, use)


def _object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": _API, "kind": kind, "metadata": {"name": name}, "spec": spec}


def not_the_server(own: str) -> dict[str, str]:
    """A match condition: the server itself is exempt, whose name as a user is `own`."""
    # A JSON string is a CEL string, too
    return {"name": "not-the-server", "expression": f"request.userInfo.username != {json.dumps(own)}"}


def matches(kind: Kind[Any], operations: tuple[str, ...]) -> dict[str, Any]:
    """The rule of a policy or webhook that speaks of these operations on a kind."""
    return {
        "apiGroups": [kind.group],
        "apiVersions": [kind.version],
        "resources": [kind.plural],
        "operations": list(operations),
    }


def given(key: str, when: str = "now") -> str:
    """CEL: whether the annotation is given, now or `before`."""
    return f"'{key}' in variables.{when}"


def kept(key: str) -> str:
    """Whether an annotation that is given was there before with the same value."""
    return f"({given(key, 'before')} && variables.before['{key}'] == variables.now['{key}'])"


POLICIES: tuple[Policy, ...] = (
    Policy(
        name="outrider-cluster-annotations",
        kinds=(CLUSTERS, PROVISIONING_CLUSTERS),
        checks=(
            Check(
                f"!({given(CREATOR_ID)}) || {_IS_NEW} || {kept(CREATOR_ID)}",
                f"annotation {CREATOR_ID} is set when the cluster is created: it can be removed, but neither"
                " changed nor added later",
            ),
            Check(
                f"!({given(CREATOR_PRINCIPAL_NAME)}) || {given(CREATOR_ID)} || {kept(CREATOR_PRINCIPAL_NAME)}",
                f"annotation {CREATOR_PRINCIPAL_NAME} needs {CREATOR_ID}: it names a principal of that user",
            ),
            Check(
                f"!({given(NO_CREATOR_RBAC)} && {given(CREATOR_ID)})"
                f" || ({kept(NO_CREATOR_RBAC)} && {kept(CREATOR_ID)})",
                f"annotations {NO_CREATOR_RBAC} and {CREATOR_ID} exclude each other: remove one of them",
            ),
            Check(
                f"!({given(VERSION_MANAGEMENT)}) || {kept(VERSION_MANAGEMENT)}"
                f" || variables.now['{VERSION_MANAGEMENT}'] in ['true', 'false', 'system-default']",
                f"annotation {VERSION_MANAGEMENT} takes true, false or system-default",
            ),
        ),
    ),
    Policy(
        name="outrider-registration-tokens",
        kinds=(REGISTRATION_TOKENS,),
        checks=(
            Check(
                f"!({_IS_NEW}) || object.spec.clusterName == object.metadata.namespace",
                "spec.clusterName must be the namespace of this object: who may make tokens in the namespace of"
                " one cluster must not admit agents to another",
            ),
        ),
    ),
    Policy(
        name="outrider-local-cluster",
        kinds=(CLUSTERS,),
        operations=("DELETE",),
        variables=(),
        checks=(
            Check(
                f"oldObject.metadata.name != '{LOCAL_CLUSTER}'",
                f"the cluster '{LOCAL_CLUSTER}' is this server's own and cannot be removed",
                reason="Forbidden",
            ),
        ),
    ),
)
