"""Kinds of ext.cattle.io/v1, which the server itself serves to the API server (contract: auth-and-rbac §1.11-13)."""

from typing import Any

from outrider.apis.ext.kubeconfig import KUBECONFIGS
from outrider.apis.ext.requests import (
    GROUP_MEMBERSHIP_REFRESH_REQUESTS,
    PASSWORD_CHANGE_REQUESTS,
    SELF_USERS,
)
from outrider.apis.ext.token import EXT_TOKENS
from outrider.apis.ext.user_activity import USER_ACTIVITIES
from outrider.kube.kind import Kind

KINDS: tuple[Kind[Any], ...] = (
    EXT_TOKENS,
    KUBECONFIGS,
    USER_ACTIVITIES,
    SELF_USERS,
    PASSWORD_CHANGE_REQUESTS,
    GROUP_MEMBERSHIP_REFRESH_REQUESTS,
)
