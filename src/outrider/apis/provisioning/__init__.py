"""The API group provisioning.cattle.io/v1."""

from outrider.apis.provisioning.cluster import PROVISIONING_CLUSTERS, Cluster

KINDS = (PROVISIONING_CLUSTERS,)

__all__ = ["KINDS", "PROVISIONING_CLUSTERS", "Cluster"]
