"""`/v3` over a client, as the server composes it, without other clusters."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from outrider.apis.views.view import View
from outrider.facade.reach import ClusterReach
from outrider.facade.v3.api import NormanApi
from outrider.facade.v3.calls import Calls
from outrider.facade.v3.places import Places
from outrider.facade.v3.registry import Registry
from outrider.kit.clock import SystemClock
from outrider.kube.client import Client


class NoBindings:
    """No RoleBinding is known: nobody has rights in single namespaces."""

    def index(self, name: str, value: str) -> Iterable[dict[str, Any]]:
        """None."""
        return ()


def norman(client: Client, views: Iterable[View], bindings: Any = None) -> NormanApi:
    """The API that shows these views."""
    places = Places(bindings or NoBindings())
    return NormanApi(
        Registry(views),
        Calls(client, ClusterReach(client, Path("/nonexistent")), places),
        client,
        SystemClock(),
    )
