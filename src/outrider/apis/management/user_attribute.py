"""userattributes.management.cattle.io: groups and activity of a user (spec: auth §1.14)."""

from typing import Annotated, ClassVar

import msgspec

from outrider.apis.crd import AGE, Column, Resource
from outrider.apis.management.group import GROUP, VERSION
from outrider.apis.management.principal import Principal
from outrider.apis.schema import prop
from outrider.kube.kind import Kind
from outrider.kube.meta import Object


class Principals(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A list of principals, under the capitalised name that the wire has."""

    items: Annotated[list[Principal] | None, prop("The principals.")] = msgspec.field(
        name="Items", default=None
    )


class UserAttribute(Object, kw_only=True):
    """What identity providers said of the user of the same name. Some names on the wire are capitalised."""

    resource: ClassVar[Resource] = Resource(
        columns=(
            Column("Username", ".UserName", description="Name at sign-in."),
            Column("Last Refresh", ".LastRefresh", description="When the groups were last read."),
            Column("Last Login", ".lastLogin", description="When the user last signed in."),
            AGE,
        ),
    )

    user_name: Annotated[str, prop("Name of the user.")] = msgspec.field(name="UserName", default="")
    group_principals: Annotated[
        dict[str, Principals] | None, prop("Groups of the user, by identity provider.")
    ] = msgspec.field(name="GroupPrincipals", default=None)
    last_refresh: Annotated[str, prop("When the groups were last read from the providers (RFC 3339).")] = (
        msgspec.field(name="LastRefresh", default="")
    )
    needs_refresh: Annotated[bool, prop("Whether the groups are to be read again at the next occasion.")] = (
        msgspec.field(name="NeedsRefresh", default=False)
    )
    extra_by_provider: Annotated[
        dict[str, dict[str, list[str] | None] | None] | None,
        prop("Extra values that impersonation carries, by identity provider."),
    ] = msgspec.field(name="ExtraByProvider", default=None)
    last_login: Annotated[str | None, prop("When the user last signed in (RFC 3339).")] = None
    disable_after: Annotated[
        str | None, prop("Time without sign-in after which the user is disabled; 0: never.")
    ] = None
    delete_after: Annotated[
        str | None, prop("Time without sign-in after which the user is deleted; 0: never.")
    ] = None


USER_ATTRIBUTES: Kind[UserAttribute] = Kind(
    group=GROUP,
    version=VERSION,
    plural="userattributes",
    kind="UserAttribute",
    namespaced=False,
    type=UserAttribute,
)
