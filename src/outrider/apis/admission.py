"""What the API server asks about a write before it is stored (admission.k8s.io/v1), and what we answer.

A guard stands at the door of some kinds of objects, and its judge says None or why not. Only what neither a CRD's
rules nor a ValidatingAdmissionPolicy can say is said this way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import msgspec

from outrider.apis.policies import matches
from outrider.kube.identity import Identity
from outrider.kube.kind import Kind

CREATE: Final = "CREATE"
UPDATE: Final = "UPDATE"
DELETE: Final = "DELETE"

_API: Final = "admission.k8s.io/v1"
_REASONS: Final = {403: "Forbidden", 409: "AlreadyExists", 422: "Invalid", 503: "ServiceUnavailable"}


class AdmissionError(ValueError):
    """A body that is no AdmissionReview."""


class UserInfo(msgspec.Struct, frozen=True):
    """Who writes, as the API server knows them."""

    username: str = ""
    groups: tuple[str, ...] | None = None
    extra: dict[str, tuple[str, ...]] | None = None

    @property
    def identity(self) -> Identity:
        """The same, to act as them."""
        return Identity(self.username, self.groups or (), self.extra or {})


class AdmissionRequest(msgspec.Struct, frozen=True, rename="camel"):
    """One write. `object` is what would be stored, `old_object` what is; None where there is none."""

    uid: str
    operation: str
    name: str = ""
    namespace: str = ""
    user_info: UserInfo = UserInfo()
    object: dict[str, Any] | None = None
    old_object: dict[str, Any] | None = None


class Denial(msgspec.Struct, frozen=True):
    """What is wrong, why, and what to do; with the HTTP status that the writer gets."""

    message: str
    code: int = 403


Judge = Callable[[AdmissionRequest], Awaitable[Denial | None]]


class Guard(msgspec.Struct, frozen=True):
    """Asks its judge about writes of some kinds. `name` is a DNS label, its own among all guards."""

    name: str
    kinds: tuple[Kind[Any], ...]
    judge: Judge
    operations: tuple[str, ...] = (CREATE, UPDATE)

    def rules(self) -> list[dict[str, Any]]:
        """The rules of a webhook, or of a policy, that speak of the same writes."""
        return [matches(kind, self.operations) for kind in self.kinds]


class _Review(msgspec.Struct):
    request: AdmissionRequest


def read_review(body: bytes) -> AdmissionRequest:
    """The request in an AdmissionReview. Raises AdmissionError."""
    try:
        return msgspec.json.decode(body, type=_Review).request
    except (msgspec.MsgspecError, RecursionError) as error:
        raise AdmissionError(f"the body is no AdmissionReview of {_API}: {error}") from None


def answer(request: AdmissionRequest, denial: Denial | None) -> dict[str, Any]:
    """The AdmissionReview that answers."""
    said: dict[str, Any] = {"uid": request.uid, "allowed": denial is None}
    if denial is not None:
        reason = _REASONS.get(denial.code, "")
        said["status"] = {"code": denial.code, "message": denial.message, "reason": reason}
    return {"apiVersion": _API, "kind": "AdmissionReview", "response": said}


def by_name(guards: Iterable[Guard]) -> dict[str, Guard]:
    """The guards by name. Raises ValueError when two have the same."""
    found: dict[str, Guard] = {}
    for guard in guards:
        if found.setdefault(guard.name, guard) is not guard:
            raise ValueError(f"two guards are called {guard.name}")
    return found
