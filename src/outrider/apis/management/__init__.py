"""The API group management.cattle.io/v3: one module per kind, each with its `Kind` constant."""

from outrider.apis.management.auth_config import AUTH_CONFIGS, AuthConfig
from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.cluster_role_template_binding import (
    CLUSTER_ROLE_TEMPLATE_BINDINGS,
    ClusterRoleTemplateBinding,
)
from outrider.apis.management.driver import KONTAINER_DRIVERS, NODE_DRIVERS, KontainerDriver, NodeDriver
from outrider.apis.management.feature import FEATURES, Feature
from outrider.apis.management.fleet_workspace import FLEET_WORKSPACES, FleetWorkspace
from outrider.apis.management.global_role import GLOBAL_ROLES, GlobalRole
from outrider.apis.management.global_role_binding import GLOBAL_ROLE_BINDINGS, GlobalRoleBinding
from outrider.apis.management.node import NODES, Node
from outrider.apis.management.preference import PREFERENCES, Preference
from outrider.apis.management.project import PROJECTS, Project
from outrider.apis.management.project_network_policy import PROJECT_NETWORK_POLICIES, ProjectNetworkPolicy
from outrider.apis.management.project_role_template_binding import (
    PROJECT_ROLE_BINDINGS,
    PROJECT_ROLE_TEMPLATE_BINDINGS,
    ProjectRoleBinding,
    ProjectRoleTemplateBinding,
)
from outrider.apis.management.registration_token import REGISTRATION_TOKENS, ClusterRegistrationToken
from outrider.apis.management.role_template import ROLE_TEMPLATES, RoleTemplate
from outrider.apis.management.setting import SETTINGS, Setting
from outrider.apis.management.token import TOKENS, Token
from outrider.apis.management.user import USERS, User
from outrider.apis.management.user_attribute import USER_ATTRIBUTES, UserAttribute
from outrider.apis.management.user_group import GROUP_MEMBERS, GROUPS, Group, GroupMember

KINDS = (
    CLUSTERS,
    REGISTRATION_TOKENS,
    TOKENS,
    USERS,
    USER_ATTRIBUTES,
    GROUPS,
    GROUP_MEMBERS,
    SETTINGS,
    FEATURES,
    NODES,
    GLOBAL_ROLES,
    GLOBAL_ROLE_BINDINGS,
    ROLE_TEMPLATES,
    CLUSTER_ROLE_TEMPLATE_BINDINGS,
    PROJECT_ROLE_TEMPLATE_BINDINGS,
    PROJECT_ROLE_BINDINGS,
    PROJECTS,
    PROJECT_NETWORK_POLICIES,
    AUTH_CONFIGS,
    FLEET_WORKSPACES,
    KONTAINER_DRIVERS,
    NODE_DRIVERS,
    PREFERENCES,
)

__all__ = [
    "AUTH_CONFIGS",
    "CLUSTERS",
    "CLUSTER_ROLE_TEMPLATE_BINDINGS",
    "FEATURES",
    "FLEET_WORKSPACES",
    "GLOBAL_ROLES",
    "GLOBAL_ROLE_BINDINGS",
    "GROUPS",
    "GROUP_MEMBERS",
    "KINDS",
    "KONTAINER_DRIVERS",
    "NODES",
    "NODE_DRIVERS",
    "PREFERENCES",
    "PROJECTS",
    "PROJECT_NETWORK_POLICIES",
    "PROJECT_ROLE_BINDINGS",
    "PROJECT_ROLE_TEMPLATE_BINDINGS",
    "REGISTRATION_TOKENS",
    "ROLE_TEMPLATES",
    "SETTINGS",
    "TOKENS",
    "USERS",
    "USER_ATTRIBUTES",
    "AuthConfig",
    "Cluster",
    "ClusterRegistrationToken",
    "ClusterRoleTemplateBinding",
    "Feature",
    "FleetWorkspace",
    "GlobalRole",
    "GlobalRoleBinding",
    "Group",
    "GroupMember",
    "KontainerDriver",
    "Node",
    "NodeDriver",
    "Preference",
    "Project",
    "ProjectNetworkPolicy",
    "ProjectRoleBinding",
    "ProjectRoleTemplateBinding",
    "RoleTemplate",
    "Setting",
    "Token",
    "User",
    "UserAttribute",
]
