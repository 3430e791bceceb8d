"""What the pure functions of views are given in tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from outrider.apis.views.call import Call
from outrider.kube.client import Client
from outrider.kube.identity import Identity
from outrider.kube.rules import Rights, Rule, Rules

BASE = "https://rancher.example.com"
EVERYTHING = Rule(verbs=("*",), api_groups=("*",), resources=("*",))


class _Silent:
    """A transport that nobody may use: what is tested is pure."""

    def request(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("a pure function asked the API server")


def a_call(rules: Iterable[Rule] = (EVERYTHING,), **more: Any) -> Call:
    """The call of somebody with these rights."""
    identity = Identity(user="user-abcde", groups=("system:authenticated",))
    transport: Any = _Silent()
    return Call(
        identity=identity,
        client=Client(transport).as_user(identity),
        rights=Rights(Rules(rules)),
        base=BASE,
        user="user-abcde",
        token="token-abcde",
        **more,
    )


def rule(
    *verbs: str, group: str = "management.cattle.io", resource: str, names: tuple[str, ...] = ()
) -> Rule:
    """A rule about one resource."""
    return Rule(verbs=verbs, api_groups=(group,), resources=(resource,), resource_names=names)
