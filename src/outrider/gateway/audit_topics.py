"""What a request is about, told by its target and by what its bodies say they are (contract, auth-and-rbac §5.4)."""

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

from outrider.gateway.audit_uri import decoded


class About(Enum):
    """What a request target says of the bodies that belong to it."""

    ANYTHING = 0
    SECRETS = 1
    SIGN_IN = 2
    KUBECONFIG = 3


_SECRET_RESOURCES = frozenset(
    {
        *("secret", "secrets", "configmap", "configmaps", "namespacedsecrets", "projectsecrets"),
        *("cloudcredential", "cloudcredentials", "dockercredentials", "namespaceddockercredentials"),
        *("basicauths", "namespacedbasicauths", "sshauths", "namespacedsshauths", "serviceaccounttokens"),
        *("namespacedserviceaccounttokens", "certificates", "namespacedcertificates"),
    }
)
SECRET_KINDS = frozenset(
    {
        *("secret", "secretlist", "configmap", "configmaplist", "namespacedsecret", "cloudcredential"),
        *("dockercredential", "namespaceddockercredential", "basicauth", "namespacedbasicauth", "sshauth"),
        *("namespacedsshauth", "certificate", "namespacedcertificate", "projectsecret"),
    }
)
ISSUED_KINDS = frozenset({"token", "kubeconfig", "ext.cattle.io.token", "ext.cattle.io.kubeconfig"})
"""Kinds whose `value` is a credential when they have just been made."""


def about(uri: str) -> About:
    """What a request target (redacted or not) is about."""
    plain = decoded(uri).lower()
    path, _, query = plain.partition("?")
    if path.endswith(" characters]"):
        return About.SECRETS  # cut short: what it names cannot be told
    if path.startswith(("/v3-public/", "/v1-public/")):
        return About.SIGN_IN
    if not _SECRET_RESOURCES.isdisjoint(re.split(r"[/.]", path)):
        return About.SECRETS
    if "generatekubeconfig" in query or "kubeconfig" in path:
        return About.KUBECONFIG
    return About.ANYTHING


def kinds_of(value: Mapping[str, Any]) -> set[str]:
    """What an object says it is, in lower case: by Kubernetes' `kind`, or `type` and `baseType` of the `/v3` API."""
    return {
        kind.lower()
        for kind in (value.get("kind"), value.get("type"), value.get("baseType"))
        if isinstance(kind, str)
    }
