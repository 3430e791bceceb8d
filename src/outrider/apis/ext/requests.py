"""Kinds that are only created: they ask for something, and nothing of them is kept (contract: §1.13)."""

from typing import Annotated, ClassVar

import msgspec

from outrider.apis.crd import Resource
from outrider.apis.ext.group import GROUP, VERSION
from outrider.apis.schema import Shape, prop
from outrider.kube.kind import Kind
from outrider.kube.meta import Condition, Object

EVERYBODY = "*"
COMPLETED = "Completed"


class RequestStatus(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What became of the request."""

    shape: ClassVar[Shape] = Shape(closed=True)

    conditions: Annotated[list[Condition] | None, prop("What was done.")] = None
    summary: Annotated[str, prop("Completed when it was done.")] = ""


class SelfUserStatus(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """Who asked."""

    shape: ClassVar[Shape] = Shape(closed=True)

    user_id: Annotated[str, prop("Name of the user who asked.")] = msgspec.field(name="userID", default="")


class SelfUser(Object, kw_only=True):
    """Asks who you are."""

    shape: ClassVar[Shape] = Shape(closed=True)
    resource: ClassVar[Resource] = Resource(columns=())

    status: Annotated[SelfUserStatus, prop("Who asked.")] = msgspec.field(default_factory=SelfUserStatus)


class PasswordChangeRequestSpec(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """Whose password becomes what."""

    shape: ClassVar[Shape] = Shape(closed=True)

    user_id: Annotated[str, prop("Whose password.")] = msgspec.field(name="userID", default="")
    current_password: Annotated[
        str, prop("The password as it is; not needed by those who may set the passwords of others.")
    ] = ""
    new_password: Annotated[str, prop("The password as it is to be.")] = ""

    def __repr__(self) -> str:
        return f"PasswordChangeRequestSpec({self.user_id})"


class PasswordChangeRequest(Object, kw_only=True):
    """Changes the password of a local user."""

    shape: ClassVar[Shape] = Shape(closed=True)
    resource: ClassVar[Resource] = Resource(columns=())

    spec: Annotated[PasswordChangeRequestSpec, prop("Whose password becomes what.")] = msgspec.field(
        default_factory=PasswordChangeRequestSpec
    )
    status: Annotated[RequestStatus, prop("What became of it.")] = msgspec.field(
        default_factory=RequestStatus
    )


class GroupMembershipRefreshRequestSpec(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """Whose groups are read again."""

    shape: ClassVar[Shape] = Shape(closed=True)

    user_id: Annotated[str, prop('Whose groups; "*": everybody\'s.')] = ""


class GroupMembershipRefreshRequest(Object, kw_only=True):
    """Has the groups of a user read again from the identity providers."""

    shape: ClassVar[Shape] = Shape(closed=True)
    resource: ClassVar[Resource] = Resource(columns=())

    spec: Annotated[GroupMembershipRefreshRequestSpec, prop("Whose groups.")] = msgspec.field(
        default_factory=GroupMembershipRefreshRequestSpec
    )
    status: Annotated[RequestStatus, prop("What became of it.")] = msgspec.field(
        default_factory=RequestStatus
    )


SELF_USERS: Kind[SelfUser] = Kind(
    group=GROUP, version=VERSION, plural="selfusers", kind="SelfUser", namespaced=False, type=SelfUser
)
PASSWORD_CHANGE_REQUESTS: Kind[PasswordChangeRequest] = Kind(
    group=GROUP,
    version=VERSION,
    plural="passwordchangerequests",
    kind="PasswordChangeRequest",
    namespaced=False,
    type=PasswordChangeRequest,
)
GROUP_MEMBERSHIP_REFRESH_REQUESTS: Kind[GroupMembershipRefreshRequest] = Kind(
    group=GROUP,
    version=VERSION,
    plural="groupmembershiprefreshrequests",
    kind="GroupMembershipRefreshRequest",
    namespaced=False,
    type=GroupMembershipRefreshRequest,
)
