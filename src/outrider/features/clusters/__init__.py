"""Clusters: their records, registration, the agent's manifest, inventory, connection and kubeconfigs."""
