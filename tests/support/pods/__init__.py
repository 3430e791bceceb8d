"""A real Kubernetes node on this machine, in namespaces of its own: pods that run, and no trace afterwards.

The node's processes have a network, a mount and a process-id namespace. When their first process ends, for whatever
reason, the kernel kills the others and takes down what they mounted and every network interface that they made.
"""
