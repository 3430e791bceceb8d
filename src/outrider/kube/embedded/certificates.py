"""The certificates of one embedded control plane: made when missing, renewed when a third of life is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from outrider.kit import pki
from outrider.kube.embedded.layout import Layout
from outrider.kube.embedded.network import ALONE, Network
from outrider.kube.embedded.ports import LOOPBACK

SERVER_CA = "server-ca"
CLIENT_CA = "client-ca"
ETCD_CA = "etcd-ca"
FRONT_PROXY_CA = "front-proxy-ca"
AUTHORITIES = (SERVER_CA, CLIENT_CA, ETCD_CA, FRONT_PROXY_CA)

APISERVER = "apiserver"
ETCD = "etcd"
ETCD_CLIENT = "etcd-client"
CONTROLLER_MANAGER = "controller-manager"
ADMIN = "admin"
FRONT_PROXY = "front-proxy"
KUBELET_CLIENT = "kubelet-client"
SERVICE_ACCOUNT = "service-account"

FRONT_PROXY_USER = "outrider-aggregator"
_API_SERVER_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


@dataclass(frozen=True, slots=True)
class Leaf:
    """What one certificate is for. ``serves`` and ``calls`` are its extended key usages."""

    name: str
    authority: str
    common_name: str
    groups: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    serves: bool = False
    calls: bool = False


def leaves(service_address: str, network: Network = ALONE) -> tuple[Leaf, ...]:
    """Every certificate of a control plane; ``service_address`` is that of the service ``kubernetes``."""
    # A kubelet asks the API server what its caller may do; this is the caller that it must never refuse.
    kubelet_client = Leaf(KUBELET_CLIENT, CLIENT_CA, "kube-apiserver", groups=("system:masters",), calls=True)
    return (
        Leaf(ETCD, ETCD_CA, "etcd", dns=("localhost",), ips=(LOOPBACK,), serves=True, calls=True),
        Leaf(ETCD_CLIENT, ETCD_CA, "kube-apiserver", calls=True),
        Leaf(
            APISERVER,
            SERVER_CA,
            "kube-apiserver",
            dns=_API_SERVER_NAMES,
            ips=tuple(dict.fromkeys((LOOPBACK, service_address, network.address))),
            serves=True,
        ),
        Leaf(CONTROLLER_MANAGER, CLIENT_CA, "system:kube-controller-manager", calls=True),
        Leaf(ADMIN, CLIENT_CA, "outrider-supervisor", groups=("system:masters",), calls=True),
        Leaf(FRONT_PROXY, FRONT_PROXY_CA, FRONT_PROXY_USER, calls=True),
        *((kubelet_client,) if network.nodes else ()),
    )


class CertificateStore:
    """The PEM files in the data folder. Servers re-read them by themselves, so renewal needs no restart."""

    def __init__(
        self,
        layout: Layout,
        *,
        name: str,
        service_address: str,
        leaf_lifetime: timedelta,
        network: Network = ALONE,
    ) -> None:
        self._layout = layout
        self._name = name
        self._leaves = leaves(service_address, network)
        self._leaf_lifetime = leaf_lifetime

    def ensure(self, now: datetime) -> list[str]:
        """Makes what is missing and renews what is old; returns the names of what was written."""
        written = [name for name in AUTHORITIES if self._ensure_authority(name, now)]
        written += [leaf.name for leaf in self._leaves if self._ensure_leaf(leaf, now)]
        return written + self._ensure_signing_key()

    def authority_pem(self, name: str) -> bytes:
        """An authority's certificate."""
        return self._layout.certificate(name).read_bytes()

    def credential(self, name: str) -> pki.Credential:
        """A leaf with its key. Raises ``FileNotFoundError`` before ``ensure``."""
        return pki.from_bundle(self._layout.bundle(name).read_bytes())

    def issue_client(self, common_name: str, groups: Sequence[str], now: datetime) -> pki.Credential:
        """A client certificate that the API server accepts, written nowhere."""
        authority = self.credential(CLIENT_CA)
        return pki.issue_client(authority, common_name, groups, now=now, lifetime=self._leaf_lifetime)

    def _ensure_authority(self, name: str, now: datetime) -> bool:
        path = self._layout.bundle(name)
        authority = self._read_authority(path)
        if authority is None:
            renewed = pki.create_authority(f"{self._name} {name}", now=now)
        elif pki.near_expiry(authority.cert_pem, now=now):
            renewed = pki.renew_authority(authority, now=now)
        else:
            self._publish(name, authority.cert_pem)
            return False
        pki.write_private(path, pki.to_bundle(renewed))
        self._publish(name, renewed.cert_pem)
        return True

    @staticmethod
    def _read_authority(path: Path) -> pki.Credential | None:
        try:
            return pki.read_credential(path)
        except pki.PkiError as error:
            raise pki.PkiError(
                f"{path} is damaged ({error}); every credential of this cluster hangs on it: bring it back "
                "from a backup, or delete it to issue everything anew (old kubeconfigs then stop working)"
            ) from None

    def _publish(self, name: str, cert_pem: bytes) -> None:
        path = self._layout.certificate(name)
        if not path.exists() or path.read_bytes() != cert_pem:
            pki.write_private(path, cert_pem)

    def _ensure_leaf(self, leaf: Leaf, now: datetime) -> bool:
        authority = self.credential(leaf.authority)
        path = self._layout.bundle(leaf.name)
        if not self._must_issue(leaf, authority, now):
            return False
        pki.write_private(path, pki.to_bundle(self._issue(leaf, authority, now)))
        return True

    def _must_issue(self, leaf: Leaf, authority: pki.Credential, now: datetime) -> bool:
        try:
            present = pki.read_credential(self._layout.bundle(leaf.name))
        except pki.PkiError:
            return True
        return present is None or pki.must_reissue(
            present, authority.cert_pem, now=now, dns=leaf.dns, ips=leaf.ips
        )

    def _issue(self, leaf: Leaf, authority: pki.Credential, now: datetime) -> pki.Credential:
        if not leaf.serves:
            return pki.issue_client(
                authority, leaf.common_name, leaf.groups, now=now, lifetime=self._leaf_lifetime
            )
        return pki.issue_server(
            authority,
            leaf.common_name,
            now=now,
            dns=leaf.dns,
            ips=leaf.ips,
            lifetime=self._leaf_lifetime,
            client=leaf.calls,
        )

    def _ensure_signing_key(self) -> list[str]:
        """Never renewed: every service-account token issued so far depends on it."""
        private, public = self._layout.bundle(SERVICE_ACCOUNT), self._layout.certificate(SERVICE_ACCOUNT)
        if private.exists():
            if not public.exists():
                pki.write_private(public, pki.public_key_of(private.read_bytes()))
            return []
        key = pki.create_signing_key()
        pki.write_private(private, key.private_pem)
        pki.write_private(public, key.public_pem)
        return [SERVICE_ACCOUNT]
