"""The first administrator (contract, auth-and-rbac §1.15).

Every step looks at what is there, so that a start that was interrupted anywhere is finished by the next one,
and two replicas that start at once make the same administrator: its name follows from the Secret's uid.
"""

import base64
import binascii
import contextlib
import hashlib
import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from outrider.apis.ext.group import NAMESPACE as TOKENS_NAMESPACE
from outrider.apis.management.global_role_binding import GLOBAL_ROLE_BINDINGS
from outrider.apis.management.user import USERS, User
from outrider.features.auth import settings as names
from outrider.features.auth.errors import InitializationIncomplete
from outrider.features.auth.login import LocalPasswords
from outrider.features.auth.passwords import NAMESPACE as PASSWORDS_NAMESPACE
from outrider.features.auth.secrets import ALPHABET, random_text
from outrider.features.auth.settings import AuthSettings
from outrider.kube.builtin import CLUSTERROLEBINDINGS, CONFIGMAPS, NAMESPACES, SECRETS
from outrider.kube.client import Client
from outrider.kube.errors import AlreadyExists
from outrider.kube.meta import ObjectMeta

log = logging.getLogger(__name__)

NAMESPACE = "cattle-system"
SECRET = "bootstrap-secret"  # noqa: S105 (a Secret's name)
SECRET_KEY = "bootstrapPassword"  # noqa: S105 (a key of that Secret)
GUARD = "admincreated"
ADMIN_LABEL = "authz.management.cattle.io/bootstrapping"
ADMIN_VALUE = "admin-user"
VARIABLES = ("CATTLE_BOOTSTRAP_PASSWORD", "OUTRIDER_BOOTSTRAP_PASSWORD")
USERNAME = "admin"

_PASSWORD_LENGTH = 20
_SOURCE_ANNOTATION = "outrider.io/password-source"
_WEAK = "admin"


class BootstrapPassword(msgspec.Struct, frozen=True):
    """The first password, whether its owner must replace it, and the uid of the Secret that holds it."""

    value: str
    must_change: bool
    uid: str

    def __repr__(self) -> str:
        return f"BootstrapPassword(must_change={self.must_change})"


class Bootstrap:
    """Makes the namespaces, the password and the administrator that a new installation begins with."""

    def __init__(
        self, client: Client, passwords: LocalPasswords, settings: AuthSettings, environ: Mapping[str, str]
    ) -> None:
        self._client = client
        self._passwords = passwords
        self._settings = settings
        self._environ = environ

    async def run(self) -> None:
        """Do what is not done yet. Raises KubeError, InitializationIncomplete."""
        await self._ensure_namespaces()
        if await self._client.get_or_none(CONFIGMAPS, GUARD, NAMESPACE) is not None:
            return
        if self._settings.text(names.NO_DEFAULT_ADMIN).lower() == "true":
            return
        password = await self._ensure_password()
        admin = await self._ensure_admin(admin_name(password.uid), must_change=password.must_change)
        if await self._client.get_or_none(SECRETS, admin.metadata.name, PASSWORDS_NAMESPACE) is None:
            await self._passwords.store(admin, password.value)
        await self._ensure_binding(admin)
        await self._create_if_absent(CONFIGMAPS, {"metadata": {"name": GUARD, "namespace": NAMESPACE}})
        log.info("created the administrator %s (%s)", USERNAME, admin.metadata.name)

    async def _ensure_namespaces(self) -> None:
        for namespace in (NAMESPACE, PASSWORDS_NAMESPACE, TOKENS_NAMESPACE):
            await self._create_if_absent(NAMESPACES, {"metadata": {"name": namespace}})

    async def _create_if_absent(self, kind: Any, obj: Any) -> None:
        with contextlib.suppress(AlreadyExists):
            await self._client.create(kind, obj)

    async def _ensure_password(self) -> BootstrapPassword:
        secret = await self._client.get_or_none(SECRETS, SECRET, NAMESPACE)
        if secret is None:
            given = next((self._environ[name] for name in VARIABLES if self._environ.get(name)), "")
            await self._create_if_absent(SECRETS, _secret(given))
            secret = await self._client.get(SECRETS, SECRET, NAMESPACE)
        return _read(secret)

    async def _ensure_admin(self, name: str, *, must_change: bool) -> User:
        admin = await find_admin(self._client)
        if admin is not None:
            return admin
        draft = User(
            metadata=ObjectMeta(name=name, labels={ADMIN_LABEL: ADMIN_VALUE}),
            username=USERNAME,
            display_name="Default Admin",
            must_change_password=must_change,
            principal_ids=[f"local://{name}"],
            enabled=True,
        )
        await self._create_if_absent(USERS, draft)
        admin = await self._client.get(USERS, name)
        if admin.metadata.labels.get(ADMIN_LABEL) != ADMIN_VALUE:
            # never give full rights to somebody who happens to have the name
            raise InitializationIncomplete(f"user {name} is in the way of the first administrator: delete it")
        return admin

    async def _ensure_binding(self, admin: User) -> None:
        # The one takes effect at once, the other in every cluster; the first goes with the second
        await self._client.apply(CLUSTERROLEBINDINGS, admin_binding(admin))
        await self._client.apply(GLOBAL_ROLE_BINDINGS, global_admin_binding(admin))

    async def reset_password(self) -> str:
        """Give the administrator a new random password, to be changed at once, and return it.

        Raises InitializationIncomplete when there is no administrator, KubeError.
        """
        admin = await find_admin(self._client)
        if admin is None:
            raise InitializationIncomplete(
                f"no user has the label {ADMIN_LABEL}={ADMIN_VALUE}: run ensure-default-admin first"
            )
        password = random_text(_PASSWORD_LENGTH)
        await self._passwords.store(admin, password)
        await self._client.patch(USERS, admin.metadata.name, {"mustChangePassword": True, "enabled": True})
        return password

    async def ensure_default_admin(self) -> User:
        """Make the administrator, or give it its rights back, whatever the guard says. Raises KubeError."""
        await self._ensure_namespaces()
        admin = await self._ensure_admin(f"user-{random_text(5)}", must_change=True)
        await self._ensure_binding(admin)
        return admin


async def find_admin(client: Client) -> User | None:
    """The default administrator; the eldest, should there be several."""
    found = (await client.list(USERS, labels=f"{ADMIN_LABEL}={ADMIN_VALUE}")).items
    return min(
        found, key=lambda user: (str(user.metadata.creation_timestamp), user.metadata.name), default=None
    )


async def bootstrap_password(client: Client) -> str:
    """The first password as stored, empty when there is none. Raises KubeError."""
    secret = await client.get_or_none(SECRETS, SECRET, NAMESPACE)
    return _read(secret).value if secret is not None else ""


def admin_binding(admin: User) -> dict[str, Any]:
    """Full rights on the management cluster; named as a controller of global role bindings would name it."""
    owner = {
        "apiVersion": USERS.api_version,
        "kind": USERS.kind,
        "name": admin.metadata.name,
        "uid": admin.metadata.uid,
    }
    return {
        "metadata": {
            "name": f"globaladmin-{admin.metadata.name}",
            "labels": {ADMIN_LABEL: ADMIN_VALUE},
            "ownerReferences": [owner],
        },
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": admin.metadata.name}],
    }


def global_admin_binding(admin: User) -> dict[str, Any]:
    """Makes the user an administrator of every cluster."""
    suffix = admin.metadata.name.removeprefix("user-")
    return {
        "metadata": {"name": f"globalrolebinding-{suffix}", "labels": {ADMIN_LABEL: ADMIN_VALUE}},
        "globalRoleName": "admin",
        "userName": admin.metadata.name,
    }


def admin_name(uid: str) -> str:
    """`user-` and five characters, the same for every replica."""
    digest = hashlib.sha256(uid.encode()).digest()
    return "user-" + "".join(ALPHABET[byte % len(ALPHABET)] for byte in digest[:5])


def _secret(given: str) -> dict[str, Any]:
    value = given or random_text(_PASSWORD_LENGTH)
    return {
        "metadata": {
            "name": SECRET,
            "namespace": NAMESPACE,
            "annotations": {_SOURCE_ANNOTATION: "given" if given else "generated"},
        },
        "type": "Opaque",
        "data": {SECRET_KEY: base64.b64encode(value.encode()).decode()},
    }


def _read(secret: Mapping[str, Any]) -> BootstrapPassword:
    try:
        value = base64.b64decode((secret.get("data") or {}).get(SECRET_KEY, ""), validate=True).decode()
    except (binascii.Error, TypeError, ValueError):
        value = ""
    if not value:
        raise InitializationIncomplete(
            f"Secret {NAMESPACE}/{SECRET} has no password under {SECRET_KEY}: set one or delete the Secret"
        )
    meta = secret.get("metadata") or {}
    generated = (meta.get("annotations") or {}).get(_SOURCE_ANNOTATION) == "generated"
    return BootstrapPassword(value, generated or value == _WEAK, str(meta.get("uid", "")))
