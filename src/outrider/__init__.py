"""Outrider: a management plane for fleets of Kubernetes clusters."""

from outrider.kit import compiled

__version__ = "0.1.0"

compiled.use()
