"""The settings that sign-in reads (contract, auth-and-rbac §1.10, §6.1) and their effective values."""

import re
from collections.abc import Mapping
from typing import Protocol

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

DEFAULTS: Mapping[str, str] = {
    BASIC_AUTH: "true",
    BODY_LIMIT: "1Mi",
    DEFAULT_TTL: "129600",
    FIRST_LOGIN: "true",
    IDLE_TTL: "960",
    KUBECONFIG_DEFAULT_TTL: "43200",
    KUBECONFIG_MAX_TTL: "129600",
    MAX_TTL: "129600",
    NO_DEFAULT_ADMIN: "",
    PASSWORD_MIN_LENGTH: "12",
    SESSION_TTL: "960",
}

_SIZE = re.compile(r"([0-9]{1,12})(Ki|Mi|Gi|k|M|G)?")
_UNITS = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 10**3, "M": 10**6, "G": 10**9}


class StoredSettings(Protocol):
    """Where stored values come from: (value, default) of a setting, or None when there is no such object."""

    def __call__(self, name: str) -> tuple[str, str] | None:
        """The stored value and default of a setting."""
        ...


class AuthSettings:
    """Effective values: environment, else stored value, else stored default, else ours.

    A stored value that does not parse counts as the default: a typing error must not lock everybody out.
    """

    def __init__(self, stored: StoredSettings, environ: Mapping[str, str]) -> None:
        self._stored = stored
        self._environ = environ

    def text(self, name: str) -> str:
        """The effective value."""
        from_environment = self._environ.get(environment_name(name))
        if from_environment is not None:
            return from_environment
        value, default = self._stored(name) or ("", "")
        return value or default or DEFAULTS.get(name, "")

    def number(self, name: str) -> int:
        """A setting that holds a whole number."""
        try:
            return int(self.text(name))
        except ValueError:
            return int(DEFAULTS[name])

    def flag(self, name: str) -> bool:
        """A setting that holds `true` or `false`."""
        text = self.text(name).strip().lower()
        return (text if text in ("true", "false") else DEFAULTS[name]) == "true"

    def size(self, name: str) -> int:
        """A setting that holds a number of bytes, such as `1Mi`."""
        return _bytes(self.text(name)) or _bytes(DEFAULTS[name]) or 0


def environment_name(setting: str) -> str:
    """`CATTLE_…`, which locks a setting: `server-url` → `CATTLE_SERVER_URL`."""
    return "CATTLE_" + setting.upper().replace("-", "_")


def _bytes(text: str) -> int | None:
    match = _SIZE.fullmatch(text.strip())
    return int(match[1]) * _UNITS[match[2] or ""] if match else None
