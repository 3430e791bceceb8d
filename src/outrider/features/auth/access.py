"""Questions to the API server's own authorizer: may this user do that?"""

import asyncio

import msgspec

from outrider.kube.client import Client
from outrider.kube.errors import KubeError
from outrider.kube.identity import Identity

_PATH = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_MANAGEMENT = "management.cattle.io"


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """A verb on a resource; empty name and namespace mean all of them."""

    verb: str
    group: str
    resource: str
    name: str = ""
    namespace: str = ""


class AccessUnknown(Exception):
    """The API server could not be asked; whoever asked must refuse."""


EVERYTHING = Action(verb="*", group="*", resource="*")


def cluster_access(cluster: str) -> Action:
    """What makes a cluster reachable (contract, auth-and-rbac §4.2)."""
    return Action(verb="get", group=_MANAGEMENT, resource="clusters", name=cluster)


class AccessReviews:
    """Asks by SubjectAccessReview; `timeout` in seconds, `width` reviews at once."""

    def __init__(self, client: Client, *, timeout: float = 5.0, width: int = 64) -> None:
        self._client = client
        self._timeout = timeout
        self._slots = asyncio.Semaphore(width)

    async def allows(self, identity: Identity, action: Action) -> bool:
        """Whether RBAC lets the user do it. Raises AccessUnknown."""
        return await self._allowed(_review(identity, action))

    async def _allowed(self, review: dict[str, object]) -> bool:
        try:
            async with asyncio.timeout(self._timeout), self._slots:
                answer = await self._client.post(_PATH, review)
        except (KubeError, TimeoutError) as error:
            raise AccessUnknown("the API server did not say whether access is allowed") from error
        status = answer.get("status") or {}
        return status.get("allowed") is True and status.get("denied") is not True

    async def allows_path(self, identity: Identity, verb: str, path: str) -> bool:
        """Whether RBAC lets the user do it to a path that is no resource. Raises AccessUnknown."""
        return await self._allowed(_path_review(identity, verb, path))

    async def is_administrator(self, identity: Identity) -> bool:
        """Whether the user may do everything on the management cluster. Raises AccessUnknown."""
        return await self.allows(identity, EVERYTHING)


def _review(identity: Identity, action: Action) -> dict[str, object]:
    attributes = {
        "verb": action.verb,
        "group": action.group,
        "resource": action.resource,
        "name": action.name,
        "namespace": action.namespace,
    }
    return _review_of(identity, {"resourceAttributes": attributes})


def _path_review(identity: Identity, verb: str, path: str) -> dict[str, object]:
    return _review_of(identity, {"nonResourceAttributes": {"verb": verb, "path": path}})


def _review_of(identity: Identity, attributes: dict[str, object]) -> dict[str, object]:
    subject = {
        "user": identity.user,
        "groups": list(identity.groups),
        "extra": {key: list(values) for key, values in identity.extra.items()},
    }
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": subject | attributes,
    }
