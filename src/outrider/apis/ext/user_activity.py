"""useractivities.ext.cattle.io: that somebody works in a session, named after its token (contract: §1.13)."""

from typing import Annotated, ClassVar

import msgspec

from outrider.apis.crd import Column, Resource
from outrider.apis.ext.group import GROUP, VERSION
from outrider.apis.schema import Shape, prop
from outrider.kube.kind import Kind
from outrider.kube.meta import Object


class UserActivitySpec(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """When the user was active."""

    shape: ClassVar[Shape] = Shape(closed=True)

    seen_at: Annotated[
        str | None, prop("When the user was last seen (RFC 3339). Default, and latest: now.")
    ] = None


class UserActivityStatus(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What follows from it."""

    shape: ClassVar[Shape] = Shape(closed=True)

    expires_at: Annotated[str, prop("When the session ends for want of activity (RFC 3339).")] = ""


class UserActivity(Object, kw_only=True):
    """The activity in one of your sessions; its name is that of the session's token."""

    shape: ClassVar[Shape] = Shape(closed=True)
    resource: ClassVar[Resource] = Resource(
        columns=(
            Column("Seen", ".spec.seenAt", description="When the user was last seen."),
            Column("Expires", ".status.expiresAt", description="When the session ends without activity."),
        ),
    )

    spec: Annotated[UserActivitySpec, prop("When the user was active.")] = msgspec.field(
        default_factory=UserActivitySpec
    )
    status: Annotated[UserActivityStatus, prop("What follows from it.")] = msgspec.field(
        default_factory=UserActivityStatus
    )


USER_ACTIVITIES: Kind[UserActivity] = Kind(
    group=GROUP,
    version=VERSION,
    plural="useractivities",
    kind="UserActivity",
    namespaced=False,
    type=UserActivity,
)
