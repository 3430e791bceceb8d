"""What all bindings share: whom they speak of, and the rules about that (spec: auth §3.4, §3.13)."""

from typing import Annotated

from outrider.apis.crd import AGE, Column
from outrider.apis.management.binding_status import Binding
from outrider.apis.schema import Rule, prop
from outrider.apis.spelling import fixed, said

MAX_NAME = 253
MAX_PRINCIPAL = 1024


def one_subject(users: tuple[str, ...], groups: tuple[str, ...], others: tuple[str, ...] = ()) -> Rule:
    """Exactly one of a user, a group or something else, each named by any of its fields."""
    forms = [f"({_any(form)} ? 1 : 0)" for form in (users, groups, others) if form]
    users_, groups_ = "/".join(f"[{one}]" for one in users), "/".join(f"[{one}]" for one in groups)
    also = "".join(f" OR a [{one}]" for one in others)
    return Rule(
        f"{' + '.join(forms)} == 1", f"binding must target either a user {users_} OR a group {groups_}{also}"
    )


def fixed_subject(*fields: str) -> tuple[Rule, ...]:
    """Subject fields may be given once, when what they name has been found, and then stay."""
    return tuple(fixed(field, settable_once=True, why="make another binding") for field in fields)


def needed(field: str, message: str) -> Rule:
    """The field must be given."""
    return Rule(f"{said(field)} != ''", message, field=f".{field}", reason="FieldValueRequired")


def _any(fields: tuple[str, ...]) -> str:
    return " || ".join(f"{said(field)} != ''" for field in fields)


ROLE_COLUMN = Column("Role", ".roleTemplateName", description="The role template.")
SUBJECT_COLUMNS = (
    Column("User", ".userName", description="The user who has it."),
    Column("Group", ".groupPrincipalName", description="The group whose members have it."),
    Column("Summary", ".status.summary", description="How far it is in effect."),
    AGE,
)
TEMPLATE_RULES = (
    needed("roleTemplateName", "the referenced role template was not found: roleTemplateName is empty"),
    fixed("roleTemplateName", why="make another binding"),
    *fixed_subject("userName", "userPrincipalName", "groupName", "groupPrincipalName"),
)
"""What holds of every binding of a role template."""


class SubjectBinding(Binding, kw_only=True):
    """The base of bindings of a user or of a group that an identity provider knows."""

    user_name: Annotated[str, prop("Name of the user who has it.", max_length=MAX_NAME)] = ""
    user_principal_name: Annotated[str, prop("The user's principal.", max_length=MAX_PRINCIPAL)] = ""
    group_principal_name: Annotated[
        str, prop("Principal of the group whose members have it.", max_length=MAX_PRINCIPAL)
    ] = ""


class TemplateBinding(SubjectBinding, kw_only=True):
    """The base of bindings of a role template."""

    role_template_name: Annotated[str, prop("The role template.", max_length=MAX_NAME)] = ""
    group_name: Annotated[str, prop("Name of the group whose members have it.", max_length=MAX_PRINCIPAL)] = (
        ""
    )
