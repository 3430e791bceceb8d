"""What a path of `/v3` means. Pure: text in, a target out."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from outrider.apis.views.view import Context

_ROOTS = {"cluster": Context.CLUSTER, "project": Context.PROJECT}


@dataclass(frozen=True, kw_only=True)
class Target:
    """A place under a root. `root` is the id of the cluster or project whose root it is, empty for `/v3`.

    `plural` is lower case: collections are found whatever their case. `rest` is what follows the id.
    """

    context: Context = Context.MANAGEMENT
    root: str = ""
    plural: str = ""
    id: str = ""
    rest: str = ""

    @property
    def cluster(self) -> str:
        """The cluster whose root, or whose project's root, this is under; empty for `/v3`."""
        return self.root.partition(":")[0]

    @property
    def project(self) -> str:
        """The project whose root this is under, if it is one."""
        return self.root if self.context is Context.PROJECT else ""


def parse(path: str) -> Target | None:
    """The target of a path below `/v3/`, percent-encoded; None where there is none. The singular names a root."""
    parts = [unquote(part) for part in path.split("/") if part]
    context = _ROOTS.get(parts[0].lower(), Context.MANAGEMENT) if parts else Context.MANAGEMENT
    root = ""
    if context is not Context.MANAGEMENT:
        if len(parts) < 2:
            return None
        root, parts = parts[1], parts[2:]
    if len(parts) > 3:
        return None
    plural, identifier, rest = (*parts, "", "", "")[:3]
    return Target(context=context, root=root, plural=plural.lower(), id=identifier, rest=rest.lower())
