"""users.management.cattle.io: people and machine accounts (spec: auth §1.14). The fields are flat."""

from typing import Annotated, ClassVar

import msgspec

from outrider.apis.crd import AGE, Column, Resource, immutable
from outrider.apis.management.group import GROUP, VERSION
from outrider.apis.schema import Shape, prop
from outrider.kube.kind import Kind
from outrider.kube.meta import Condition, Object


class UserStatus(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What is known of a user."""

    conditions: Annotated[
        list[Condition], prop("Details of the state, one entry a type.", list_keys=("type",))
    ] = []


class User(Object, kw_only=True):
    """A person or machine account. Passwords are kept as hashes in Secrets, never here."""

    shape: ClassVar[Shape] = Shape(
        rules=(immutable("username", settable_once=True, why="what others know the user by must stay true"),),
    )
    resource: ClassVar[Resource] = Resource(
        columns=(
            Column("Username", ".username", description="Name at sign-in."),
            Column("Display Name", ".displayName", description="Name that people see."),
            Column(
                "Enabled", ".enabled", type="boolean", description="Whether the user may sign in; empty: yes."
            ),
            AGE,
            Column("Principals", ".principalIds", description="Ids at identity providers.", wide=True),
        ),
    )

    display_name: Annotated[str, prop("Name that people see.")] = ""
    description: Annotated[str, prop("Free text about the user.")] = ""
    username: Annotated[
        str, prop("Name at sign-in; empty for users of other identity providers.", max_length=253)
    ] = ""
    password: Annotated[str, prop("Deprecated: the hash that older versions kept here.")] = ""
    must_change_password: Annotated[
        bool, prop("Whether the user must choose a new password before anything else.")
    ] = False
    principal_ids: Annotated[
        list[str] | None, prop("Ids of the user at identity providers, such as local://user-abcde.")
    ] = None
    me: Annotated[bool, prop("Computed on reading: whether it is the user who asks.")] = False
    enabled: Annotated[bool | None, prop("Whether the user may sign in. Default: true.")] = None
    status: Annotated[UserStatus, prop("What is known of the user.")] = msgspec.field(
        default_factory=UserStatus
    )


USERS: Kind[User] = Kind(
    group=GROUP, version=VERSION, plural="users", kind="User", namespaced=False, type=User
)
