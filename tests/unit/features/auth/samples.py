"""Objects that the tests of this folder share."""

from datetime import UTC, datetime, timedelta
from typing import Any

from outrider.apis.management.principal import Principal
from outrider.apis.management.token import KIND_LABEL, Token
from outrider.apis.management.user import User
from outrider.apis.management.user_attribute import Principals, UserAttribute
from outrider.features.auth.secrets import hash_secret
from outrider.kube.meta import ObjectMeta

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SECRET = "c" * 54
HOUR = 3_600_000


def a_user(name: str = "user-abcde", **fields: Any) -> User:
    values: dict[str, Any] = {"username": "jane", "display_name": "Jane"} | fields
    return User(metadata=ObjectMeta(name=name, uid=f"uid-{name}", resource_version="1"), **values)


def a_token(
    name: str = "token-abcde", *, age: timedelta = timedelta(0), kind: str = "", **fields: Any
) -> Token:
    values: dict[str, Any] = {
        "token": hash_secret(SECRET),
        "user_id": "user-abcde",
        "auth_provider": "local",
        "is_derived": kind != "session",
        "ttl": HOUR,
        "user_principal": Principal(metadata=ObjectMeta(name="local://user-abcde"), login_name="jane"),
    }
    meta = ObjectMeta(
        name=name,
        uid=f"uid-{name}",
        resource_version="1",
        creation_timestamp=NOW - age,
        labels={KIND_LABEL: kind} if kind else {},
    )
    return Token(metadata=meta, **(values | fields))


def groups(**by_provider: list[str]) -> UserAttribute:
    return UserAttribute(
        metadata=ObjectMeta(name="user-abcde"),
        group_principals={
            provider: Principals(items=principals(*names)) for provider, names in by_provider.items()
        },
    )


def principals(*names: str) -> list[Principal]:
    return [Principal(metadata=ObjectMeta(name=name), principal_type="group") for name in names]
