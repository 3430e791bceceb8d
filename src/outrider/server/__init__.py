"""Composition roots: what a replica's processes are built from."""
