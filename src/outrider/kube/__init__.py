"""The Kubernetes API: kinds, a client over any transport, errors, selectors, quantities, kubeconfigs."""
