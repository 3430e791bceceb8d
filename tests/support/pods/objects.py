"""Pods for tests, as manifests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tools.image.shell import SHELL_REFERENCE


def pod(
    name: str, *, command: Sequence[str] = (), stdin: bool = False, tty: bool = False,
    labels: Mapping[str, str] | None = None,
) -> str:  # fmt: skip
    """A pod with busybox that runs `command`, or waits for others; it ends at once when told to."""
    container: dict[str, Any] = {"name": "main", "image": SHELL_REFERENCE, "stdin": stdin, "tty": tty}
    if command:
        container["command"] = list(command)
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0, "restartPolicy": "Never"}
    metadata = {"name": name, "labels": dict(labels or {})}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
