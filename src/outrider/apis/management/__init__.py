"""The API group management.cattle.io/v3: one module per kind, each with its `Kind` constant."""

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.feature import FEATURES, Feature
from outrider.apis.management.node import NODES, Node
from outrider.apis.management.registration_token import REGISTRATION_TOKENS, ClusterRegistrationToken
from outrider.apis.management.setting import SETTINGS, Setting
from outrider.apis.management.token import TOKENS, Token
from outrider.apis.management.user import USERS, User
from outrider.apis.management.user_attribute import USER_ATTRIBUTES, UserAttribute

KINDS = (CLUSTERS, REGISTRATION_TOKENS, TOKENS, USERS, USER_ATTRIBUTES, SETTINGS, FEATURES, NODES)

__all__ = [
    "CLUSTERS",
    "FEATURES",
    "KINDS",
    "NODES",
    "REGISTRATION_TOKENS",
    "SETTINGS",
    "TOKENS",
    "USERS",
    "USER_ATTRIBUTES",
    "Cluster",
    "ClusterRegistrationToken",
    "Feature",
    "Node",
    "Setting",
    "Token",
    "User",
    "UserAttribute",
]
