"""The name of the API group and the metadata that several of its kinds share (spec: clusters §0, §1)."""

GROUP = "management.cattle.io"
VERSION = "v3"
API_VERSION = f"{GROUP}/{VERSION}"

LOCAL_CLUSTER = "local"

CREATOR_ID = "field.cattle.io/creatorId"
CREATOR_PRINCIPAL_NAME = "field.cattle.io/creator-principal-name"
NO_CREATOR_RBAC = "field.cattle.io/no-creator-rbac"
CREATOR_BINDINGS = "authz.management.cattle.io/creator-role-bindings"
"""What the creator is to be given, and what of it was: the server's own record."""
