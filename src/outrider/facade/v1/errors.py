"""Refusals of `/v1` (contract, auth-and-rbac §0.1): the same body as those of `/v3`, with Kubernetes' own reasons."""

from __future__ import annotations

from outrider.apis.norman import NormanError
from outrider.facade.norman import from_kubernetes
from outrider.kube.errors import ApiError, KubeError


def refusal(error: KubeError) -> NormanError:
    """What the API server answered, for clients of `/v1`."""
    told = from_kubernetes(error)
    if isinstance(error, ApiError) and error.reason and error.code not in (429, 503):
        return NormanError(error.code, error.message, code=error.reason, headers=told.headers)
    return told


def no_method(what: str, method: str) -> NormanError:
    """The refusal of a method that a collection or an object does not take."""
    return NormanError(405, f"{what} does not take {method}", code="MethodNotAllowed")


def no_type(name: str) -> NormanError:
    """The refusal of a type that a cluster does not serve."""
    return NormanError(404, f"no type is called {name[:80]}", code="NotFound")
