"""Rules that CEL can check but a CRD cannot hold, because they speak of metadata (spec: clusters §1.9).

They are ValidatingAdmissionPolicies (KEP-3488), which the API server evaluates by itself: they hold for
every client and need no webhook of ours. What they cannot see stays with the controllers: whether a
creator's principal is really that user's, and who asked for the object.
"""

from dataclasses import dataclass
from typing import Any

from outrider.apis.management.cluster import CLUSTERS
from outrider.apis.management.group import CREATOR_ID, CREATOR_PRINCIPAL_NAME, NO_CREATOR_RBAC
from outrider.apis.management.registration_token import REGISTRATION_TOKENS
from outrider.apis.provisioning.cluster import PROVISIONING_CLUSTERS
from outrider.kube.kind import Kind

VERSION_MANAGEMENT = "rancher.io/imported-cluster-version-management"

_API = "admissionregistration.k8s.io/v1"
_IS_NEW = "oldObject == null"


@dataclass(frozen=True)
class Check:
    """A CEL expression over `object`, `oldObject` and `variables`, and what is said when it is false."""

    expression: str
    message: str


@dataclass(frozen=True)
class Policy:
    """Checks on every creation and change of objects of some kinds."""

    name: str
    kinds: tuple[Kind[Any], ...]
    checks: tuple[Check, ...]

    def objects(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The ValidatingAdmissionPolicy and the binding that puts it in force everywhere."""
        policy = {
            "apiVersion": _API,
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": self.name},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [_matches(kind) for kind in self.kinds]},
                "variables": [
                    {"name": "now", "expression": _annotations("object")},
                    {"name": "before", "expression": f"{_IS_NEW} ? {{}} : {_annotations('oldObject')}"},
                ],
                "validations": [
                    {"expression": check.expression, "message": check.message, "reason": "Invalid"}
                    for check in self.checks
                ],
            },
        }
        binding = {
            "apiVersion": _API,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": self.name},
            "spec": {"policyName": self.name, "validationActions": ["Deny"]},
        }
        return policy, binding


def _matches(kind: Kind[Any]) -> dict[str, Any]:
    return {
        "apiGroups": [kind.group],
        "apiVersions": [kind.version],
        "resources": [kind.plural],
        "operations": ["CREATE", "UPDATE"],
    }


def _annotations(variable: str) -> str:
    return f"has({variable}.metadata.annotations) ? {variable}.metadata.annotations : {{}}"


def _given(key: str, when: str = "now") -> str:
    return f"'{key}' in variables.{when}"


def _kept(key: str) -> str:
    """Whether an annotation that is given was there before with the same value."""
    return f"({_given(key, 'before')} && variables.before['{key}'] == variables.now['{key}'])"


POLICIES: tuple[Policy, ...] = (
    Policy(
        name="outrider-cluster-annotations",
        kinds=(CLUSTERS, PROVISIONING_CLUSTERS),
        checks=(
            Check(
                f"!({_given(CREATOR_ID)}) || {_IS_NEW} || {_kept(CREATOR_ID)}",
                f"annotation {CREATOR_ID} is set when the cluster is created: it can be removed, but neither"
                " changed nor added later",
            ),
            Check(
                f"!({_given(CREATOR_PRINCIPAL_NAME)}) || {_given(CREATOR_ID)} || {_kept(CREATOR_PRINCIPAL_NAME)}",
                f"annotation {CREATOR_PRINCIPAL_NAME} needs {CREATOR_ID}: it names a principal of that user",
            ),
            Check(
                f"!({_given(NO_CREATOR_RBAC)} && {_given(CREATOR_ID)})"
                f" || ({_kept(NO_CREATOR_RBAC)} && {_kept(CREATOR_ID)})",
                f"annotations {NO_CREATOR_RBAC} and {CREATOR_ID} exclude each other: remove one of them",
            ),
            Check(
                f"!({_given(VERSION_MANAGEMENT)}) || {_kept(VERSION_MANAGEMENT)}"
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
)
