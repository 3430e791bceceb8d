"""Every kind that this server owns."""

from typing import Any

from outrider.apis import management, provisioning
from outrider.kube.kind import Kind

KINDS: tuple[Kind[Any], ...] = (*management.KINDS, *provisioning.KINDS)
