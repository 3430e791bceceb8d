"""The program in a downstream cluster: dials out, serves the tunnel, applies desired state, reports."""
