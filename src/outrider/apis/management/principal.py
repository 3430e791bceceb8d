"""A principal: a user or group as an identity provider knows it (spec: auth §2.8, §2.9)."""

from typing import Annotated

import msgspec

from outrider.apis.schema import prop
from outrider.kube.meta import ObjectMeta


class Principal(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """A user or group of an identity provider; `metadata.name` is its id, such as local://user-abcde."""

    metadata: Annotated[ObjectMeta, prop("Holds the id of the principal as its name.")] = msgspec.field(
        default_factory=ObjectMeta
    )
    display_name: Annotated[str, prop("Name that people see.")] = ""
    login_name: Annotated[str, prop("Name at sign-in.")] = ""
    profile_picture: Annotated[str, prop("URL of a picture.")] = ""
    profile_url: Annotated[str, prop("URL of a page about the principal.")] = msgspec.field(
        name="profileURL", default=""
    )
    principal_type: Annotated[str, prop("user or group.")] = ""
    me: Annotated[bool, prop("Whether it is the user who asks.")] = False
    member_of: Annotated[bool, prop("Whether the user who asks belongs to the group.")] = False
    provider: Annotated[str, prop("Name of the identity provider.")] = ""
    extra_info: Annotated[dict[str, str] | None, prop("More that the provider says.")] = None
