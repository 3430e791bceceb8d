"""groups and groupmembers.management.cattle.io: groups that are kept here, and who is in them (spec: auth §0)."""

from typing import Annotated, ClassVar

from outrider.apis.crd import AGE, Column, Resource
from outrider.apis.management.group import GROUP, VERSION
from outrider.apis.management.subject import MAX_NAME, MAX_PRINCIPAL
from outrider.apis.schema import prop
from outrider.kube.kind import Kind
from outrider.kube.meta import Object


class Group(Object, kw_only=True):
    """A group of users that is kept here, and not by an identity provider."""

    resource: ClassVar[Resource] = Resource(
        columns=(Column("Display Name", ".displayName", description="The name that people see."), AGE)
    )

    display_name: Annotated[str, prop("The name that people see.")] = ""


class GroupMember(Object, kw_only=True):
    """Somebody who is in a group."""

    resource: ClassVar[Resource] = Resource(
        columns=(
            Column("Group", ".groupName", description="The group."),
            Column("Principal", ".principalId", description="Who is in it."),
            AGE,
        )
    )

    group_name: Annotated[str, prop("Name of the group.", max_length=MAX_NAME)] = ""
    principal_id: Annotated[str, prop("Principal of who is in it.", max_length=MAX_PRINCIPAL)] = ""


GROUPS: Kind[Group] = Kind(
    group=GROUP, version=VERSION, plural="groups", kind="Group", namespaced=False, type=Group
)
GROUP_MEMBERS: Kind[GroupMember] = Kind(
    group=GROUP,
    version=VERSION,
    plural="groupmembers",
    kind="GroupMember",
    namespaced=False,
    type=GroupMember,
)
