"""authconfigs.management.cattle.io: identity providers (spec: auth §2.1). Their fields are flat, by `type`."""

from typing import Annotated, ClassVar

import msgspec

from outrider.apis.crd import AGE, Column, Resource
from outrider.apis.management.group import GROUP, VERSION
from outrider.apis.schema import prop
from outrider.kube.kind import Kind
from outrider.kube.meta import Condition, Object

LOCAL_CONFIG = "localConfig"
ACCESS_MODES = ("", "unrestricted", "restricted", "required")


class AuthConfigStatus(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What is known of a provider."""

    conditions: Annotated[
        list[Condition], prop("Details of the state, one entry a type.", list_keys=("type",))
    ] = []


class AuthConfig(Object, kw_only=True):
    """An identity provider and how it is reached. Secrets are references to Secret objects, never values."""

    resource: ClassVar[Resource] = Resource(
        columns=(
            Column("Type", ".type", description="Which provider it is."),
            Column("Enabled", ".enabled", type="boolean", description="Whether people may sign in by it."),
            AGE,
        ),
    )

    type: Annotated[str, prop("Which provider it is, such as localConfig or githubConfig.")] = ""
    enabled: Annotated[bool, prop("Whether people may sign in by it.")] = False
    access_mode: Annotated[str, prop("Who may sign in.", enum=ACCESS_MODES)] = ""
    allowed_principal_ids: Annotated[
        list[str] | None, prop("Users and groups that may sign in, by principal.")
    ] = None
    logout_all_supported: Annotated[bool, prop("Whether it can end a session everywhere.")] = False
    logout_all_enabled: Annotated[bool, prop("Whether people may end their session everywhere.")] = False
    logout_all_forced: Annotated[bool, prop("Whether every sign-out ends the session everywhere.")] = False
    status: Annotated[AuthConfigStatus, prop("What is known of the provider.")] = msgspec.field(
        default_factory=AuthConfigStatus
    )


AUTH_CONFIGS: Kind[AuthConfig] = Kind(
    group=GROUP, version=VERSION, plural="authconfigs", kind="AuthConfig", namespaced=False, type=AuthConfig
)
