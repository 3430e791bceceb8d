"""The settings that sign-in reads and their effective values (contract, auth-and-rbac §1.10, §6.1)."""

import re
from collections.abc import Mapping
from typing import Protocol

from outrider.apis.management.setting import Setting
from outrider.apis.management.settings import BY_NAME
from outrider.kube.meta import ObjectKey

BASIC_AUTH = "basic-auth-password-enabled"
BODY_LIMIT = "public-api-body-limit"
DEFAULT_TTL = "auth-token-default-ttl-minutes"
FIRST_LOGIN = "first-login"
IDLE_TTL = "auth-user-session-idle-ttl-minutes"
KUBECONFIG_DEFAULT_TTL = "kubeconfig-default-token-ttl-minutes"
KUBECONFIG_MAX_TTL = "kubeconfig-max-token-ttl-minutes"
MAX_TTL = "auth-token-max-ttl-minutes"
NO_DEFAULT_ADMIN = "no-default-admin"
PASSWORD_MIN_LENGTH = "password-min-length"  # noqa: S105 (a setting's name)
SESSION_TTL = "auth-user-session-ttl-minutes"

_SIZE = re.compile(r"([0-9]{1,12})(Ki|Mi|Gi|k|M|G)?")
_UNITS = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 10**3, "M": 10**6, "G": 10**9}


class StoredSettings(Protocol):
    """Where settings are kept: a lister of them."""

    def get(self, key: ObjectKey) -> Setting | None:
        """The stored setting."""
        ...


class AuthSettings:
    """Effective values: environment, else stored value, else stored default, else the known default.

    A stored value that does not parse counts as the default: a typing error must not lock everybody out.
    """

    def __init__(self, stored: StoredSettings, environ: Mapping[str, str]) -> None:
        self._stored = stored
        self._environ = environ

    def stored(self, name: str) -> Setting | None:
        """The setting as it was last seen."""
        return self._stored.get(ObjectKey("", name))

    def text(self, name: str) -> str:
        """The effective value."""
        from_environment = self._environ.get(environment_name(name))
        if from_environment is not None:
            return from_environment
        setting = self.stored(name) or Setting()
        return setting.value or setting.default or _default(name)

    def is_locked(self, name: str) -> bool:
        """Whether the environment decides, which makes the setting read-only."""
        return environment_name(name) in self._environ

    def number(self, name: str) -> int:
        """A setting that holds a whole number."""
        try:
            return int(self.text(name))
        except ValueError:
            return int(_default(name))

    def flag(self, name: str) -> bool:
        """A setting that holds `true` or `false`."""
        text = self.text(name).strip().lower()
        return (text if text in ("true", "false") else _default(name)) == "true"

    def size(self, name: str) -> int:
        """A setting that holds a number of bytes, such as `1Mi`."""
        return _bytes(self.text(name)) or _bytes(_default(name)) or 0


def environment_name(setting: str) -> str:
    """`CATTLE_…`, which locks a setting: `server-url` → `CATTLE_SERVER_URL`."""
    return "CATTLE_" + setting.upper().replace("-", "_")


def _default(name: str) -> str:
    definition = BY_NAME.get(name)
    return definition.default if definition is not None else ""


def _bytes(text: str) -> int | None:
    match = _SIZE.fullmatch(text.strip())
    return int(match[1]) * _UNITS[match[2] or ""] if match else None
