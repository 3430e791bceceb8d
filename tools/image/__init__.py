"""Builds container images on this machine, without a registry and without a container engine."""
