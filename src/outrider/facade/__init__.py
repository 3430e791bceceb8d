"""The HTTP side of the control process: views over the Kubernetes API, as the user."""
