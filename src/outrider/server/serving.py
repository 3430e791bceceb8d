"""The front door's certificate: given as files, or our own, kept in Secrets that all servers share."""

import asyncio
import base64
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from outrider.kit import pki
from outrider.kit.clock import Clock
from outrider.kube.builtin import SECRETS
from outrider.kube.client import Client
from outrider.kube.errors import AlreadyExists, Conflict, KubeError
from outrider.link.messages import Serve

log = logging.getLogger(__name__)

NAMESPACE = "cattle-system"
AUTHORITY = "tls-rancher-internal-ca"
SERVING = "tls-rancher-internal"
MAX_NAMES = 64
"""Names in our own certificate at most; servers in pods have a new name each."""


class ServingFiles:
    """Certificate, key and CA as files; `ca` may be absent when clients trust the issuer anyway."""

    def __init__(self, certificate: Path, key: Path, ca: Path | None) -> None:
        self._certificate = certificate
        self._key = key
        self._ca = ca

    def read(self) -> Serve:
        """The material as it is now; raises OSError or PkiError."""
        certificate, key = self._certificate.read_bytes(), self._key.read_bytes()
        try:
            fits = pki.matches_key(pki.Credential(certificate, key))
        except pki.PkiError as error:
            raise pki.PkiError(f"{self._certificate} with {self._key}: {error}") from None
        if not fits:
            raise pki.PkiError(f"{self._key} is not the key of {self._certificate}")
        return Serve(certificate=_text(certificate), key=_text(key), ca=self._authority())

    def _authority(self) -> str:
        if self._ca is None:
            return ""
        ca = self._ca.read_bytes()
        try:
            pki.describe(ca)
        except pki.PkiError as error:
            raise pki.PkiError(f"{self._ca}: {error}") from None
        return _text(ca)


def _text(pem: bytes) -> str:
    return pem.decode("utf-8", "replace")  # what is no ASCII stands in comments


class OwnAuthority:
    """Our own CA and certificate, in two Secrets; whoever comes first makes them, the others use them."""

    def __init__(self, client: Client, hosts: Callable[[], Iterable[str]], clock: Clock) -> None:
        self._client = client
        self._hosts = hosts
        self._clock = clock

    async def read(self) -> Serve:
        """The material, made or renewed when it is due; raises KubeError."""
        now = self._clock.now()
        authority = await ensure(self._client, AUTHORITY, lambda _: _new_authority(now), lambda _: False)
        wanted = names(self._hosts())

        def issue(held: pki.Credential | None) -> pki.Credential:
            dns, ips = with_names_of(held, *wanted)
            return pki.issue_server(authority, "outrider", now=now, dns=dns, ips=ips)

        def stale(held: pki.Credential) -> bool:
            dns, ips = with_names_of(held, *wanted)
            return pki.must_reissue(held, authority.cert_pem, now=now, dns=dns, ips=ips)

        serving = await ensure(self._client, SERVING, issue, stale)
        chain = (serving.cert_pem + authority.cert_pem).decode()
        return Serve(certificate=chain, key=serving.key_pem.decode(), ca=authority.cert_pem.decode())


async def ensure(
    client: Client,
    name: str,
    issue: Callable[[pki.Credential | None], pki.Credential],
    stale: Callable[[pki.Credential], bool],
) -> pki.Credential:
    """The credential in a Secret that all servers share; issued, from the one before, when it is due.

    Of several servers that find it due the first one wins. Raises KubeError.
    """
    secret = await client.get_or_none(SECRETS, name, NAMESPACE)
    held = _credential(secret) if secret is not None else None
    if held is not None and not stale(held):
        return held
    fresh = issue(held)
    try:
        if secret is None:
            await client.create(SECRETS, _secret(name, fresh))
        else:
            version = secret["metadata"]["resourceVersion"]
            change = {"metadata": {"resourceVersion": version}, "data": _secret(name, fresh)["data"]}
            await client.patch(SECRETS, name, change, NAMESPACE)
    except (AlreadyExists, Conflict):
        # Another server was quicker: its certificate is as good as ours.
        return _credential(await client.get(SECRETS, name, NAMESPACE))
    return fresh


class Material:
    """Holds the current material; `changed` is called after each change, and again if it failed."""

    def __init__(
        self,
        source: ServingFiles | OwnAuthority,
        changed: Callable[[Serve], Awaitable[None]],
        *,
        interval: float,
    ) -> None:
        self._source = source
        self._changed = changed
        self._interval = interval
        self._told: Serve | None = None
        self.current: Serve | None = None

    async def load(self) -> Serve:
        """Reads the material once."""
        self.current = material = await self._read()
        if material != self._told:
            await self._changed(material)
            self._told = material
        return material

    async def run(self) -> None:
        """Looks for changes for ever; what cannot be used is logged, and the former material stays."""
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.load()
            except (OSError, pki.PkiError, KubeError) as error:
                log.warning("the front door keeps its certificate: %s", error)

    async def _read(self) -> Serve:
        if isinstance(self._source, ServingFiles):
            return await asyncio.to_thread(self._source.read)
        return await self._source.read()


def names(hosts: Iterable[str]) -> tuple[list[str], list[str]]:
    """DNS names and addresses that the certificate must carry, this machine's among them."""
    dns, ips = {"localhost", socket.gethostname().lower()}, {"127.0.0.1", "::1"}
    for host in hosts:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            dns.add(host.lower())
        else:
            if not address.is_unspecified:
                ips.add(str(address))
    return sorted(name for name in dns if name), sorted(ips)


def with_names_of(held: pki.Credential | None, dns: list[str], ips: list[str]) -> tuple[list[str], list[str]]:
    """The wanted names, and those that the certificate has for other servers: they all share it.

    A certificate that has gathered too many names starts anew with the wanted ones.
    """
    if held is None:
        return dns, ips
    try:
        info = pki.describe(held.cert_pem)
    except pki.PkiError:
        return dns, ips
    all_dns, all_ips = {*dns, *info.dns}, {*ips, *info.ips}
    if len(all_dns) + len(all_ips) > MAX_NAMES:
        return dns, ips
    return sorted(all_dns), sorted(all_ips)


def _new_authority(now: datetime) -> pki.Credential:
    return pki.create_authority("outrider-ca", now=now)


def _secret(name: str, credential: pki.Credential) -> dict[str, Any]:
    data = {"tls.crt": credential.cert_pem, "tls.key": credential.key_pem}
    return {
        "metadata": {"name": name, "namespace": NAMESPACE},
        "type": "kubernetes.io/tls",
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def _credential(secret: dict[str, Any]) -> pki.Credential:
    data = secret["data"]
    return pki.Credential(base64.b64decode(data["tls.crt"]), base64.b64decode(data["tls.key"]))
