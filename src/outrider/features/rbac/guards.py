"""Admission policies for every cluster: who may move namespaces between projects and change pod security (auth §3.13).

The cluster's own API server judges by its own RBAC, so they hold while agent and server are away. They need
Kubernetes 1.30; an older cluster reports that it cannot hold them. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from outrider.apis.management.group import GROUP
from outrider.features.rbac.names import PROJECT_ID

_API: Final = "admissionregistration.k8s.io/v1"
_PREFIX: Final = "pod-security.kubernetes.io/"
_LEVELS: Final = [
    f"{_PREFIX}{mode}{suffix}" for mode in ("enforce", "audit", "warn") for suffix in ("", "-version")
]
_PROJECTS: Final = f"authorizer.group('{GROUP}').resource('projects')"
_NAMED: Final = f"variables.project != '' && {_PROJECTS}.name(variables.project)"
_TARGET: Final = (
    ("now", f"object.metadata.?annotations['{PROJECT_ID}'].orValue('')"),
    (
        "before",
        f"oldObject == null ? '' : oldObject.metadata.?annotations['{PROJECT_ID}'].orValue('')",
    ),
    (
        "project",
        "variables.now.split(':').size() == 2 ? variables.now.split(':')[1] : ''",
    ),
)


def guards() -> Iterator[dict[str, Any]]:
    """The policies, each with the binding that puts it in force."""
    yield from _policy(
        "outrider-project-namespaces",
        _TARGET,
        f"variables.now == variables.before || variables.now == '' || ({_NAMED}.check('manage-namespaces').allowed())",
        f"annotation {PROJECT_ID} can be set by who has the verb manage-namespaces on that project only; "
        "it reads cluster:project",
    )
    same = " && ".join(
        f"object.metadata.?labels['{key}'].orValue('')"
        f" == (oldObject == null ? '' : oldObject.metadata.?labels['{key}'].orValue(''))"
        for key in _LEVELS
    )
    yield from _policy(
        "outrider-pod-security",
        (
            *_TARGET,
            ("everywhere", f"{_PROJECTS}.check('updatepsa').allowed()"),
            ("here", f"{_NAMED}.check('updatepsa').allowed()"),
        ),
        f"({same}) || variables.everywhere || variables.here",
        f"labels {_PREFIX}* can be changed by who has the verb updatepsa on the namespace's project only",
    )


def _policy(
    name: str, variables: Sequence[tuple[str, str]], expression: str, message: str
) -> Iterator[dict[str, Any]]:
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["namespaces"],
        "operations": ["CREATE", "UPDATE"],
    }
    yield _object(
        "ValidatingAdmissionPolicy",
        name,
        {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]},
            "variables": [{"name": title, "expression": text} for title, text in variables],
            "validations": [{"expression": expression, "message": message, "reason": "Forbidden"}],
        },
    )
    use = {"policyName": name, "validationActions": ["Deny"]}
    yield _object("ValidatingAdmissionPolicyBinding", name, use)


def _object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": _API, "kind": kind, "metadata": {"name": name}, "spec": spec}
