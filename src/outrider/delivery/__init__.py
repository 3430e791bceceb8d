"""Desired state: what the server wants in a cluster, cut into parts, handed over, applied and kept."""
