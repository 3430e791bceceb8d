"""Who the API server's aggregation layer says a request is made for (Kubernetes: "Configure the Aggregation Layer").

The layer takes these headers from no client: it sets them all itself, under these names. They are to be believed
only of whoever proved to be the API server.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote

from outrider.kube.identity import Identity

_USER = "x-remote-user"
_GROUP = "x-remote-group"
_EXTRA = "x-remote-extra-"


def remote_identity(headers: Iterable[tuple[str, str]]) -> Identity | None:
    """Who asks; None when the headers name nobody, or more than one."""
    users: list[str] = []
    groups: list[str] = []
    extra: dict[str, tuple[str, ...]] = {}
    for raw, value in headers:
        name = raw.lower()
        if name == _USER:
            users.append(value)
        elif name == _GROUP:
            groups.append(value)
        elif name.startswith(_EXTRA):
            # a header's name cannot hold every key: the rest is percent-encoded
            key = unquote(name.removeprefix(_EXTRA)).lower()
            extra[key] = (*extra.get(key, ()), value)
    if len(users) != 1 or not users[0]:
        return None
    return Identity(users[0], tuple(groups), extra)
