"""The front door's own certificate, shared by servers with different names."""

from __future__ import annotations

import base64
import itertools

from outrider.kit import pki
from outrider.kube.builtin import SECRETS
from outrider.kube.client import Client
from outrider.server import serving
from outrider.server.serving import MAX_NAMES, OwnAuthority
from tests.support.clock import FakeClock
from tests.support.fake_api import FakeApi


def held(api: FakeApi) -> pki.CertificateInfo:
    data = api.objects["secrets", serving.NAMESPACE, serving.SERVING]["data"]
    return pki.describe(base64.b64decode(data["tls.crt"]))


async def test_servers_with_different_names_do_not_replace_each_others_certificate() -> None:
    api, clock = FakeApi(SECRETS), FakeClock()
    one = OwnAuthority(Client(api), lambda: ["one.test", "192.0.2.1"], clock)
    other = OwnAuthority(Client(api), lambda: ["other.test"], clock)
    await one.read()
    joined = await other.read()
    version = api.version
    assert await one.read() == joined
    assert await other.read() == joined
    assert api.version == version, "nothing was written any more"
    assert {"one.test", "other.test"} <= set(held(api).dns)
    assert "192.0.2.1" in held(api).ips


async def test_names_do_not_pile_up_for_ever() -> None:
    api, clock = FakeApi(SECRETS), FakeClock()
    numbers = itertools.count()
    changing = OwnAuthority(Client(api), lambda: [f"pod-{next(numbers)}.test"], clock)
    for _ in range(MAX_NAMES + 10):
        await changing.read()
        assert len(held(api).dns) + len(held(api).ips) <= MAX_NAMES
    assert f"pod-{MAX_NAMES + 9}.test" in held(api).dns
