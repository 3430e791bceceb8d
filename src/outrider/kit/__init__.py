"""What knows nothing of Kubernetes: clocks, backoff, tasks, YAML, identifiers, cryptography, logs."""
