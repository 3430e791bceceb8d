from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from outrider.agent.errors import SettingsError
from outrider.agent.registration import Registration
from outrider.agent.settings import AgentSettings
from outrider.kube.builtin import NAMESPACES
from outrider.kube.client import Client
from outrider.kube.errors import NotFound

TOKEN = "bcdfghjklmnpqrstvwxz2456789"


class Secrets:
    """The part of a client that is used."""

    def __init__(self, value: bytes | None) -> None:
        self.value = value

    async def get(self, kind: object, name: str, namespace: str = "") -> dict[str, Any]:
        if kind is NAMESPACES:
            return {"metadata": {"name": name, "uid": f"uid-of-{name}"}}
        assert (name, namespace) == ("cattle-credentials-x", "cattle-system")
        if self.value is None:
            raise NotFound("no such secret")
        return {"data": {"token": base64.b64encode(self.value).decode()}}


def registration(folder: Path, stored: bytes | None = None) -> Registration:
    (folder / "token").write_text(TOKEN)
    (folder / "ca.crt").write_text("PEM\n")
    settings = AgentSettings(
        server="https://server:8443",
        credential_name="cattle-credentials-x",
        kubernetes_host="10.43.0.1",
        credentials=folder,
        service_account=folder,
    )
    return Registration(settings, cast(Client, Secrets(stored)))


async def test_address_and_ca_are_sent_and_no_credential(tmp_path: Path) -> None:
    headers = await registration(tmp_path).headers()
    params = msgspec.json.decode(base64.b64decode(headers["X-API-Tunnel-Params"]))
    assert params["cluster"] == {
        "address": "10.43.0.1:443",
        "caCert": base64.b64encode(b"PEM\n").decode(),
        "uid": "uid-of-kube-system",
    }
    assert headers["X-API-Tunnel-Token"] == TOKEN


async def test_a_missing_ca_is_explained(tmp_path: Path) -> None:
    made = registration(tmp_path)
    (tmp_path / "ca.crt").unlink()
    with pytest.raises(SettingsError, match=r"ca\.crt"):
        await made.headers()


@pytest.mark.parametrize(
    ("stored", "token"),
    [
        (b"rotated-rotated-rotated", "rotated-rotated-rotated"),
        (None, TOKEN),
        (b"", TOKEN),
        (b"evil\r\nX-Injected: header-value", TOKEN),
        (b"\xff" * 20, TOKEN),
    ],
)
async def test_after_a_refusal_the_clusters_secret_is_asked(
    tmp_path: Path, stored: bytes | None, token: str
) -> None:
    made = registration(tmp_path, stored)
    assert (await made.headers())["X-API-Tunnel-Token"] == TOKEN
    assert (await made.headers(refused=True))["X-API-Tunnel-Token"] == token
