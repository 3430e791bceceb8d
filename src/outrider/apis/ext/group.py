"""The name of the API group and what its kinds share (contract: auth-and-rbac §0, §1.11 to §1.13)."""

GROUP = "ext.cattle.io"
VERSION = "v1"

NAMESPACE = "cattle-tokens"
"""Where the Secrets and ConfigMaps lie that objects of this group are views of."""

USER_LABEL = "cattle.io/user-id"
KIND_LABEL = "cattle.io/kind"
OWN_LABELS = ("cattle.io/", "authn.management.cattle.io/")
"""Beginnings of the labels and annotations that clients do not set."""
