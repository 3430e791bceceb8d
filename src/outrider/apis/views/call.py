"""One request as a feature's hooks see it: who asks, with which rights, and a client that acts as they."""

from dataclasses import dataclass

from outrider.kube.client import Client
from outrider.kube.identity import Identity
from outrider.kube.rules import Rights


@dataclass(frozen=True, kw_only=True)
class Call:
    """Who asks and what for.

    `client` acts as the user, in the cluster that the request is about. `rights` are what the user may do there,
    as far as it was looked at. `base` is scheme and host as the client sees them. `user` is the name of the user's
    object, `token` the one that the request came with (empty for HTTP Basic). `cluster` and `project` say which
    root the request came through; they are empty at the management root. `problem` is what was wrong with the
    credential of somebody who counts as anonymous (`Expired`), empty when there was none.
    """

    identity: Identity
    client: Client
    rights: Rights
    base: str
    user: str = ""
    token: str = ""
    remote: str = ""
    cluster: str = ""
    project: str = ""
    problem: str = ""
