"""Rules that all bindings share: whom they speak of (spec: auth §3.4, §3.13)."""

from outrider.apis.schema import Rule
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
