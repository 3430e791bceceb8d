"""What must be held by those who give roles to people. Pure (contract, auth-and-rbac §3.13).

Objects are in their plain spelling (`apis/spelling.py`); `old` is None for a new one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from outrider.apis.management.cluster_role_template_binding import ClusterRoleTemplateBinding
from outrider.apis.management.global_role_binding import GlobalRoleBinding
from outrider.apis.management.role_template import CLUSTER, PROJECT
from outrider.features.rbac import gains
from outrider.features.rbac.escalation import FREE, Objection, Price, Right, changed, check_template
from outrider.features.rbac.names import GRB_OWNER, safe_concat
from outrider.features.rbac.world import AnyBinding, ProjectBinding, Refusal, World

_SUBJECT: Final = (
    "user_name",
    "user_principal_name",
    "group_name",
    "group_principal_name",
    "service_account",
)


def of_cluster_binding(
    world: World, new: ClusterRoleTemplateBinding, old: ClusterRoleTemplateBinding | None
) -> Price:
    """For a role in a cluster. Raises Objection."""
    if old is not None and not grants_more(old, new):
        return FREE
    if old is None:
        _check_owner(world, new)
        if new.cluster_name not in world.clusters:
            raise Objection(f"specified cluster {new.cluster_name} not found")
        check_template(world.templates, new.role_template_name, CLUSTER)
    name = new.role_template_name
    given = gains.of_binding(world.templates, name, new.cluster_name, "", world.templates.feared_rules)
    return Price(tuple(given), Right("bind", "roletemplates", name))


def of_project_binding(world: World, new: ProjectBinding, old: ProjectBinding | None) -> Price:
    """For a role in a project, under either of the two names that such a binding has. Raises Objection."""
    if old is not None and not grants_more(old, new):
        return FREE
    try:
        cluster, project = world.project_of(new)
    except Refusal as error:
        raise Objection(str(error)) from None
    if old is None:
        if cluster not in world.clusters:
            raise Objection(f"specified cluster {cluster} not found")
        check_template(world.templates, new.role_template_name, PROJECT)
    name, templates = new.role_template_name, world.templates
    given = gains.of_binding(templates, name, cluster, project, templates.feared_rules)
    return Price(tuple(given), Right("bind", "roletemplates", name))


def of_global_binding(world: World, new: GlobalRoleBinding, old: GlobalRoleBinding | None) -> Price:
    """For a global role. Raises Objection."""
    if old is not None and not grants_more(old, new):
        return FREE
    role = world.global_roles.get(new.global_role_name)
    if role is None:
        raise Objection(f"the referenced global role {new.global_role_name} was not found: create it first")
    if old is None:
        for name in role.inherited_cluster_roles or ():
            check_template(world.templates, name, CLUSTER)
    given = gains.of_global_role(world.templates, role, world.templates.feared_rules)
    return Price(tuple(given), Right("bind", "globalroles", new.global_role_name))


def grants_more(old: AnyBinding, new: AnyBinding) -> bool:
    """Whether a changed binding speaks of somebody whom it did not speak of, or for longer."""
    if changed(old, new, _SUBJECT):
        return True
    before, after = _end(old), _end(new)
    return before is not None and (after is None or after > before)


def _end(binding: AnyBinding) -> datetime | None:
    said = getattr(binding, "expires_at", "")
    return datetime.fromisoformat(said) if said else None


def _check_owner(world: World, binding: ClusterRoleTemplateBinding) -> None:
    owner = binding.metadata.labels.get(GRB_OWNER)
    names = (one.metadata.name for one in world.global_bindings)
    if owner is not None and all(owner != safe_concat(name) for name in names):
        raise Objection(f"label {GRB_OWNER} names no GlobalRoleBinding: leave it out")
