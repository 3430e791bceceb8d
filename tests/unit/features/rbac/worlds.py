"""Random worlds in plain words, and the same worlds as objects."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from outrider.apis.management import (
    ClusterRoleTemplateBinding,
    GlobalRole,
    GlobalRoleBinding,
    Project,
    ProjectRoleTemplateBinding,
    RoleTemplate,
)
from outrider.apis.management.policy_rule import PolicyRule
from outrider.features.rbac.world import World

USERS = ("ann", "bob")
GROUPS = ("okta_group://dev", "okta_group://ops")
CLUSTERS = ("local", "c-1", "c-2")
PROJECTS = ("p-1", "p-2")
NAMESPACES = ("web", "db", "free")
TEMPLATES = ("t-a", "t-b", "t-c", "t-d", "view", "edit")
MANAGEMENT = "management.cattle.io"
NATIVE = {
    "view": [{"apiGroups": [""], "resources": ["pods", "namespaces"], "verbs": ["get"]}],
    "edit": [{"apiGroups": ["", "apps"], "resources": ["pods", "secrets"], "verbs": ["*"]}],
    "cluster-admin": [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
    ],
}
EVERYTHING = [
    {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
    {"nonResourceURLs": ["*"], "verbs": ["*"]},
]

_verbs = st.lists(st.sampled_from(["get", "create", "delete", "*"]), min_size=1, max_size=2)
_in_core = st.fixed_dictionaries(
    {
        "apiGroups": st.sampled_from([[""], ["*"], ["apps"]]),
        "resources": st.lists(
            st.sampled_from(["pods", "secrets", "nodes", "namespaces", "*"]), min_size=1, max_size=2
        ),
        "verbs": _verbs,
    },
    optional={"resourceNames": st.sampled_from([["web"], ["c-1"], ["x"]])},
)
_of_ours = st.fixed_dictionaries(
    {
        "apiGroups": st.just([MANAGEMENT]),
        "resources": st.lists(
            st.sampled_from(["clusters", "projects", "projectroletemplatebindings"]), min_size=1, max_size=2
        ),
        "verbs": st.lists(st.sampled_from(["own", "get", "*", "updatepsa"]), min_size=1, max_size=2),
    }
)
_makes_namespaces = st.just({"apiGroups": [""], "resources": ["namespaces"], "verbs": ["create"]})
_template = st.fixed_dictionaries(
    {
        "context": st.sampled_from(["cluster", "project", ""]),
        "rules": st.lists(st.one_of(_in_core, _of_ours, _makes_namespaces), max_size=3),
        "inherits": st.lists(st.sampled_from([*TEMPLATES, "gone"]), max_size=2, unique=True),
        "external": st.just(False),
    }
)
_native = st.fixed_dictionaries(
    {
        "context": st.sampled_from(["cluster", "project"]),
        "rules": st.just([]),
        "inherits": st.lists(st.sampled_from(TEMPLATES), max_size=1),
        "external": st.just(True),
    }
)
_subject = st.one_of(
    st.tuples(st.just("User"), st.sampled_from(USERS)), st.tuples(st.just("Group"), st.sampled_from(GROUPS))
)


def worlds() -> st.SearchStrategy[dict[str, Any]]:
    """A world: all that people have said, right and wrong."""
    template = st.sampled_from([*TEMPLATES, "gone"])
    somewhere = st.sampled_from([*CLUSTERS, "c-gone"])
    return st.fixed_dictionaries(
        {
            "templates": st.fixed_dictionaries(
                {name: _native if name in NATIVE else _template for name in TEMPLATES}
            ),
            "native": st.just(NATIVE),
            "clusters": st.just(CLUSTERS),
            "projects": st.just([(c, p) for c in CLUSTERS for p in PROJECTS]),
            "namespaces": st.fixed_dictionaries(
                {(c, ns): st.sampled_from([*PROJECTS, ""]) for c in CLUSTERS for ns in NAMESPACES}
            ),
            "crtbs": st.lists(
                st.fixed_dictionaries({"cluster": somewhere, "template": template, "subject": _subject}),
                max_size=3,
            ),
            "prtbs": st.lists(
                st.fixed_dictionaries(
                    {
                        "cluster": somewhere,
                        "project": st.sampled_from([*PROJECTS, "p-gone"]),
                        "template": template,
                        "subject": _subject,
                    }
                ),
                max_size=4,
            ),
            "grbs": st.lists(
                st.fixed_dictionaries({"role": st.sampled_from(["admin", "gone"]), "subject": _subject}),
                max_size=1,
            ),
        }
    )


def objects(world: dict[str, Any]) -> World:
    """The world as its objects."""
    projects = {f"{c}:{p}": _project(c, p) for c, p in world["projects"]}
    return World(
        templates={name: _role_template(name, one) for name, one in world["templates"].items()},
        clusters=world["clusters"],
        global_roles={"admin": _read(GlobalRole, {"metadata": {"name": "admin"}, "rules": EVERYTHING})},
        global_bindings=[
            _read(
                GlobalRoleBinding,
                {"metadata": {"name": f"grb-{n}", "uid": str(n)}, "globalRoleName": one["role"]} | _whom(one),
            )
            for n, one in enumerate(world["grbs"])
        ],
        cluster_bindings=[
            _read(
                ClusterRoleTemplateBinding,
                {
                    "metadata": {"name": f"crtb-{n}", "namespace": one["cluster"]},
                    "clusterName": one["cluster"],
                    "roleTemplateName": one["template"],
                }
                | _whom(one),
            )
            for n, one in enumerate(world["crtbs"])
        ],
        project_bindings=[
            _read(
                ProjectRoleTemplateBinding,
                {
                    "metadata": {"name": f"prtb-{n}", "namespace": f"{one['cluster']}-{one['project']}"},
                    "projectName": f"{one['cluster']}:{one['project']}",
                    "roleTemplateName": one["template"],
                }
                | _whom(one),
            )
            for n, one in enumerate(world["prtbs"])
        ],
        projects=projects,
        namespaces=[
            *world["clusters"],
            *(one.status.backing_namespace for one in projects.values()),
        ],
        external={
            name: tuple(msgspec.convert(rule, PolicyRule) for rule in rules)
            for name, rules in world["native"].items()
        },
    )


def _whom(one: dict[str, Any]) -> dict[str, str]:
    kind, name = one["subject"]
    return {"userName" if kind == "User" else "groupPrincipalName": name}


def _role_template(name: str, one: dict[str, Any]) -> RoleTemplate:
    return _read(
        RoleTemplate,
        {
            "metadata": {"name": name},
            "context": one["context"],
            "rules": one["rules"],
            "roleTemplateNames": one["inherits"],
            "external": one["external"],
        },
    )


def _project(cluster: str, name: str) -> Project:
    return _read(
        Project,
        {
            "metadata": {"name": name, "namespace": cluster},
            "spec": {"clusterName": cluster},
            "status": {"backingNamespace": f"{cluster}-{name}"},
        },
    )


def _read(type_: type, value: dict[str, Any]) -> Any:
    return msgspec.convert(value, type_)
