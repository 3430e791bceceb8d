"""Puts the guards at the API server's door: a webhook that it must ask, and a policy that holds when there is none.

Both fail closed. Our own identity is exempt, so that a server which starts never waits for itself; `kube-system` and
our leases are never concerned.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Iterable, Sequence
from typing import Any, Final

from outrider.apis.admission import Guard
from outrider.apis.install import own_name
from outrider.apis.policies import not_the_server
from outrider.apis.role_policies import RETIRED
from outrider.facade.admission import PATH
from outrider.kube.builtin import (
    VALIDATINGADMISSIONPOLICIES,
    VALIDATINGADMISSIONPOLICYBINDINGS,
    VALIDATINGWEBHOOKCONFIGURATIONS,
)
from outrider.kube.client import Client
from outrider.kube.errors import KubeError
from outrider.server.api_door import ApiDoor
from outrider.server.api_target import Target

log = logging.getLogger(__name__)

NAME: Final = "outrider"
POLICY: Final = "outrider-registration"
TIMEOUT: Final = 10
"""Seconds that the API server waits for us."""

_API: Final = "admissionregistration.k8s.io/v1"
_UNWATCHED: Final = {
    "matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]}
    ]
}
_MISSING: Final = (
    "this server's admission webhook is not registered as it should be, so nobody can say whether you may grant this:"
    " the server registers it again when it runs"
)


class Registration:
    """Keeps the registration as it should be. `interval` is that of looking at it, in seconds."""

    def __init__(
        self, client: Client, door: ApiDoor, guards: Iterable[Guard], *, interval: float = 10.0
    ) -> None:
        self._client = client
        self._door = door
        self._guards = tuple(guards)
        self._interval = interval
        self._own = ""

    async def prepare(self) -> None:
        """Registers where nobody has done so. What another replica registered stays until this one leads.

        Raises KubeError.
        """
        if await self._client.get_or_none(VALIDATINGWEBHOOKCONFIGURATIONS, NAME) is None:
            await self._register()

    async def run(self) -> None:
        """Leads the API server here and repairs what somebody changes, until cancelled: the leader's part."""
        retired = False
        while True:
            try:
                await self._register()
                retired = retired or await self._retire()
            except KubeError as error:
                log.warning("the admission webhook cannot be registered; trying again: %s", error)
            await asyncio.sleep(self._interval)

    async def _register(self) -> None:
        await self._door.announce()
        self._own = self._own or await own_name(self._client)
        held = await self._client.get_or_none(VALIDATINGWEBHOOKCONFIGURATIONS, NAME)
        wanted = webhooks(self._guards, self._own, self._door.target, self._door.ca)
        if not covers(held, wanted):
            await self._client.apply(VALIDATINGWEBHOOKCONFIGURATIONS, wanted)
        for kind, obj in zip(
            (VALIDATINGADMISSIONPOLICIES, VALIDATINGADMISSIONPOLICYBINDINGS),
            fallback(self._guards, self._own),
            strict=True,
        ):
            if not covers(await self._client.get_or_none(kind, POLICY), obj):
                await self._client.apply(kind, obj)

    async def _retire(self) -> bool:
        """Removes the policies in whose place the guards stand: not before these are there."""
        for name in RETIRED:
            await self._client.delete_if_exists(VALIDATINGADMISSIONPOLICYBINDINGS, name)
            await self._client.delete_if_exists(VALIDATINGADMISSIONPOLICIES, name)
        return True


def webhooks(guards: Iterable[Guard], own: str, target: Target, ca: str) -> dict[str, Any]:
    """The ValidatingWebhookConfiguration. `own` is the name of the user that the server is to the API server."""
    bundle = base64.b64encode(ca.encode()).decode()
    return {
        "apiVersion": _API,
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": NAME},
        "webhooks": [_webhook(guard, own, target, bundle) for guard in guards],
    }


def fallback(guards: Sequence[Guard], own: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A policy that denies the same writes while the webhooks are not registered, and the binding that enforces it."""
    hooks = json.dumps([_hook(guard) for guard in guards])
    spec = {
        "failurePolicy": "Fail",
        "paramKind": {"apiVersion": _API, "kind": "ValidatingWebhookConfiguration"},
        "matchConstraints": {
            "namespaceSelector": _UNWATCHED,
            "resourceRules": [rule for guard in guards for rule in guard.rules()],
        },
        "matchConditions": _conditions(own),
        "validations": [
            {
                "expression": f"{hooks}.all(name, params.webhooks.exists(one, one.name == name"
                " && one.failurePolicy == 'Fail'))",
                "message": _MISSING,
                "reason": "Forbidden",
            }
        ],
    }
    use = {
        "policyName": POLICY,
        "paramRef": {"name": NAME, "parameterNotFoundAction": "Deny"},
        "validationActions": ["Deny"],
    }
    return _object("ValidatingAdmissionPolicy", spec), _object("ValidatingAdmissionPolicyBinding", use)


def covers(held: Any, wanted: Any) -> bool:
    """Whether an object has all that is wanted of it; what the API server added is passed over."""
    if isinstance(wanted, dict):
        return isinstance(held, dict) and all(covers(held.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return (
            isinstance(held, list)
            and len(held) == len(wanted)
            and all(covers(*pair) for pair in zip(held, wanted, strict=True))
        )
    return bool(held == wanted)


def _object(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": _API, "kind": kind, "metadata": {"name": POLICY}, "spec": spec}


def _hook(guard: Guard) -> str:
    return f"{guard.name}.outrider.cattle.io"


def _webhook(guard: Guard, own: str, target: Target, bundle: str) -> dict[str, Any]:
    return {
        "name": _hook(guard),
        "admissionReviewVersions": ["v1"],
        "clientConfig": {
            "caBundle": bundle,
            "service": {**target.to_json(), "path": f"{PATH}/{guard.name}"},
        },
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "namespaceSelector": _UNWATCHED,
        "objectSelector": {},
        "rules": guard.rules(),
        "matchConditions": _conditions(own),
        "sideEffects": "None",
        "timeoutSeconds": TIMEOUT,
    }


def _conditions(own: str) -> list[dict[str, str]]:
    return [
        not_the_server(own),
        {
            "name": "not-on-its-way-out",
            "expression": "request.operation == 'DELETE' || !has(object.metadata.deletionTimestamp)",
        },
    ]
