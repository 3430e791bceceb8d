"""Which backend a request target means. Pure: bytes in, a route out."""

import functools
import re

LOCAL = "local"
CONTROL = "control"
CLUSTER = "cluster"
TUNNEL = "tunnel"
PING = "ping"
HEALTH = "health"
READY = "ready"
BAD = "bad"

_PREFIXES = (b"/k8s/clusters/", b"/k8s/proxy/")
_ID = re.compile(rb"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_SCOPED = re.compile(
    rb"(?:/v3/clusters?/([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)|"
    rb"/k8s/(?:clusters|proxy)/([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)/v1)(?=[/?]|$)"
)
_DOTS = re.compile(rb"(?i)(?:^|/|%2f|\\|%5c)(?:\.|%2e){1,2}(?:/|%2f|\\|%5c|;|$)")
_EXACT = {
    b"/ping": PING,
    b"/healthz": HEALTH,
    b"/healthz/ping": HEALTH,
    b"/livez": HEALTH,
    b"/readyz": READY,
    b"/v3/connect": TUNNEL,
    b"/v3/connect/register": TUNNEL,
}
_NATIVE = frozenset({b"api", b"apis", b"openapi", b"version"})


Route = tuple[str, str, bytes]
"""Where a request goes: kind, the cluster's id if it goes to one, and the target that the backend sees."""


def route(target: bytes) -> Route:
    """The route of a request target.

    A target with dot segments, plain or percent-encoded, is bad: what a proxy and its backend make of them differs.
    An id that no cluster can have is routed as one that does not exist, so that nothing can be told apart.
    """
    if (b"/." in target or b"%" in target or b"\\" in target) and _has_dots(target):
        return BAD, "", target
    for prefix in _PREFIXES:
        if target.startswith(prefix):
            return _cluster_route(target, len(prefix))
    path = target.partition(b"?")[0]
    kind = _EXACT.get(path)
    if kind is not None:
        return kind, "", target
    if path.split(b"/", 2)[1] in _NATIVE:
        # the plane's own API is everybody's who has signed in: no right to the cluster `local` is asked for
        return LOCAL, "", target
    return CONTROL, "", target


def scope(target: bytes) -> str:
    """The cluster whose part of the façade this is (`/v3/clusters/<id>`, `/k8s/clusters/<id>/v1`), "" for none."""
    found = _SCOPED.match(target)
    return (found[1] or found[2]).decode("ascii") if found is not None else ""


def _cluster_route(target: bytes, start: int) -> Route:
    end = target.find(b"/", start)
    query = target.find(b"?", start)
    if query >= 0 and (end < 0 or query < end):
        identifier, rest = target[start:query], b"/" + target[query:]
    elif end < 0:
        identifier, rest = target[start:], b"/"
    else:
        identifier, rest = target[start:end], target[end:]
    if rest.startswith(b"//"):
        return BAD, "", target
    cluster = _cluster(identifier)
    if cluster and _is_facade(rest):
        return CONTROL, "", target
    return LOCAL if cluster == LOCAL else CLUSTER, cluster, rest


def _is_facade(rest: bytes) -> bool:
    """Whether a cluster is asked for what the façade shows of it; no Kubernetes API has such a path."""
    return rest.startswith(b"/v1") and rest[3:4] in (b"", b"/", b"?")


@functools.lru_cache(maxsize=4096)
def _cluster(identifier: bytes) -> str:
    return identifier.decode("ascii") if _ID.fullmatch(identifier) else ""


def _has_dots(target: bytes) -> bool:
    return _DOTS.search(target.partition(b"?")[0]) is not None
