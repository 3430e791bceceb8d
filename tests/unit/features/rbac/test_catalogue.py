"""The built-in roles are those of the contract, and an operator's choices outlive an upgrade."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from outrider.apis.management import GLOBAL_ROLES, ROLE_TEMPLATES
from outrider.features.rbac.builtin import created, upgrade
from outrider.features.rbac.catalogue import BOOTSTRAPPED, BOOTSTRAPPING, VERSION, BuiltinRole, builtin_roles

ROLES = {(role.kind.kind, role.name): role for role in builtin_roles()}
TEMPLATES = {name: role.fields for (kind, name), role in ROLES.items() if kind == "RoleTemplate"}
READ = ["get", "list", "watch"]


def stored(role: BuiltinRole, **changes: Any) -> Any:
    return role.kind.decode(msgspec.json.encode(created(role) | changes))


def test_how_many_there_are() -> None:
    assert sum(kind == "GlobalRole" for kind, _ in ROLES) == 13
    assert len(TEMPLATES) == 40


def test_contexts() -> None:
    cluster = {name for name, fields in TEMPLATES.items() if fields["context"] == "cluster"}
    assert cluster == {
        "cluster-admin",
        "cluster-owner",
        "cluster-member",
        "projects-create",
        "projects-view",
        "nodes-manage",
        "nodes-view",
        "storage-manage",
        "clusterroletemplatebindings-manage",
        "clusterroletemplatebindings-view",
        "clustercatalogs-manage",
        "clustercatalogs-view",
        "backups-manage",
        "navlinks-manage",
    }
    assert all(TEMPLATES[name]["context"] == "project" for name in TEMPLATES.keys() - cluster)


def test_flags_and_inheritance() -> None:
    external = {name for name, fields in TEMPLATES.items() if fields.get("external")}
    assert external == {"cluster-admin", "admin", "edit", "view", "monitoring-ui-view"}
    hidden = {name for name, fields in TEMPLATES.items() if fields.get("hidden")}
    assert hidden == {"cluster-admin", "admin", "edit", "view", "project-monitoring-readonly"}
    administrative = {name for name, fields in TEMPLATES.items() if fields.get("administrative")}
    assert administrative == {"cluster-admin", "cluster-owner", "clustercatalogs-manage"}
    inherits = {n: f["roleTemplateNames"] for n, f in TEMPLATES.items() if f.get("roleTemplateNames")}
    assert inherits == {
        "projects-view": ["view"],
        "project-owner": ["admin"],
        "project-member": ["edit"],
        "read-only": ["view"],
        "project-monitoring-readonly": ["view"],
    }
    choices = {name: role.choices for (_, name), role in ROLES.items() if role.choices}
    assert choices == {
        "cluster-owner": {"clusterCreatorDefault": True},
        "project-owner": {"projectCreatorDefault": True},
        "user": {"newUserDefault": True},
    }


def test_exact_rules() -> None:
    everything = [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        {"nonResourceURLs": ["*"], "verbs": ["*"]},
    ]
    assert ROLES["GlobalRole", "admin"].fields["rules"] == everything
    owner = TEMPLATES["cluster-owner"]["rules"]
    assert (len(owner), owner[0], owner[-1]) == (11, *everything)
    assert {"apiGroups": ["management.cattle.io"], "resources": ["clusters"], "verbs": ["own"]} in owner
    assert TEMPLATES["secrets-view"]["rules"] == [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": READ}
    ]
    assert len(TEMPLATES["project-member"]["rules"]) == 24
    manage = ROLES["GlobalRole", "users-manage"].fields
    passwords = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "update"]}]
    assert manage["namespacedRules"] == {"cattle-local-user-passwords": passwords}


@pytest.mark.parametrize("role", ROLES.values(), ids=lambda role: role.name)
def test_what_was_made_needs_no_upgrade(role: BuiltinRole) -> None:
    assert upgrade(role, stored(role)) == {}
    metadata = created(role)["metadata"]
    assert metadata["annotations"] == {BOOTSTRAPPED: "true", VERSION: "1"}
    assert metadata["labels"][BOOTSTRAPPING] in ("default-globalrole", "default-roletemplate")


def test_an_upgrade_restores_fields_and_leaves_choices() -> None:
    role = ROLES["RoleTemplate", "read-only"]
    found = stored(role, rules=None, hidden=True, locked=True, projectCreatorDefault=True)
    assert upgrade(role, found) == {"rules": role.fields["rules"], "hidden": False}
    user = ROLES["GlobalRole", "user"]
    assert upgrade(user, stored(user, newUserDefault=False)) == {}


def test_a_role_written_under_spec_is_rewritten() -> None:
    role = ROLES["RoleTemplate", "view"]
    found = stored(role, spec={"rules": [{"verbs": ["*"]}]})
    assert upgrade(role, found) == {"spec": None}


def test_a_newer_server_has_the_last_word() -> None:
    role = ROLES["RoleTemplate", "read-only"]
    newer = role._replace(version=2, fields=role.fields | {"description": "newer"})
    assert upgrade(role, stored(newer)) == {}
    assert upgrade(newer, stored(role)) == {
        "description": "newer",
        "metadata": {"annotations": {VERSION: "2"}},
    }


def test_kinds() -> None:
    assert {role.kind for role in ROLES.values()} == {GLOBAL_ROLES, ROLE_TEMPLATES}
