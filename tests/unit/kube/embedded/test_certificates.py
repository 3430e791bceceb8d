import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from outrider.kit import pki
from outrider.kube.embedded import certificates
from outrider.kube.embedded.certificates import CertificateStore
from outrider.kube.embedded.layout import Layout
from outrider.kube.embedded.network import Network

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LEAVES = ["etcd", "etcd-client", "apiserver", "controller-manager", "admin", "front-proxy"]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.create()
    return layout


@pytest.fixture
def store(layout: Layout) -> CertificateStore:
    return CertificateStore(
        layout, name="test", service_address="10.43.0.1", leaf_lifetime=timedelta(days=90)
    )


def test_everything_is_made_once(store: CertificateStore, layout: Layout) -> None:
    assert set(store.ensure(NOW)) == {*certificates.AUTHORITIES, *LEAVES, certificates.SERVICE_ACCOUNT}
    assert store.ensure(NOW) == []
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in layout.pki.iterdir())


def test_nodes_add_a_credential_for_kubelets_and_a_name_for_the_server() -> None:
    plain = {leaf.name: leaf for leaf in certificates.leaves("10.43.0.1")}
    wanted = {leaf.name: leaf for leaf in certificates.leaves("10.43.0.1", Network("10.0.0.9", nodes=True))}
    assert set(wanted) - set(plain) == {"kubelet-client"}
    assert plain["apiserver"].ips == ("127.0.0.1", "10.43.0.1")
    assert wanted["apiserver"].ips == ("127.0.0.1", "10.43.0.1", "10.0.0.9")


def test_leaves_are_renewed_when_a_third_of_life_is_left(store: CertificateStore) -> None:
    store.ensure(NOW)
    assert store.ensure(NOW + timedelta(days=59)) == []
    assert store.ensure(NOW + timedelta(days=61)) == LEAVES


def test_authorities_are_renewed_with_the_same_key(store: CertificateStore, layout: Layout) -> None:
    store.ensure(NOW)
    before = store.credential(certificates.SERVER_CA)
    later = NOW + pki.AUTHORITY_LIFETIME * 0.7
    assert certificates.SERVER_CA in store.ensure(later)
    after = store.credential(certificates.SERVER_CA)
    assert (after.key_pem, after.cert_pem != before.cert_pem) == (before.key_pem, True)
    assert store.authority_pem(certificates.SERVER_CA) == after.cert_pem


def test_the_service_account_key_is_never_renewed(store: CertificateStore, layout: Layout) -> None:
    store.ensure(NOW)
    key = layout.bundle(certificates.SERVICE_ACCOUNT).read_bytes()
    layout.certificate(certificates.SERVICE_ACCOUNT).unlink()
    store.ensure(NOW + timedelta(days=9000))
    assert layout.bundle(certificates.SERVICE_ACCOUNT).read_bytes() == key
    assert layout.certificate(certificates.SERVICE_ACCOUNT).read_bytes() == pki.public_key_of(key)


@pytest.mark.parametrize("damage", [b"", b"garbage"])
def test_a_damaged_leaf_is_made_anew(store: CertificateStore, layout: Layout, damage: bytes) -> None:
    store.ensure(NOW)
    layout.bundle("apiserver").write_bytes(damage)
    assert store.ensure(NOW) == ["apiserver"]


def test_a_lost_copy_of_an_authority_comes_back(store: CertificateStore, layout: Layout) -> None:
    store.ensure(NOW)
    layout.certificate(certificates.CLIENT_CA).unlink()
    assert store.ensure(NOW) == []
    assert store.authority_pem(certificates.CLIENT_CA) == store.credential(certificates.CLIENT_CA).cert_pem


def test_a_damaged_authority_is_never_replaced_silently(store: CertificateStore, layout: Layout) -> None:
    """Every credential handed out hangs on it: a person must decide."""
    store.ensure(NOW)
    path = layout.bundle(certificates.CLIENT_CA)
    path.write_bytes(b"garbage")
    with pytest.raises(pki.PkiError, match=str(path)):
        store.ensure(NOW)
    assert path.read_bytes() == b"garbage"


def test_another_service_address_makes_another_serving_certificate(
    store: CertificateStore, layout: Layout
) -> None:
    store.ensure(NOW)
    moved = CertificateStore(
        layout, name="test", service_address="10.44.0.1", leaf_lifetime=timedelta(days=90)
    )
    assert moved.ensure(NOW) == ["apiserver"]


def test_who_may_sign_whom(store: CertificateStore) -> None:
    """An authority that proves one kind of identity must prove no other."""
    store.ensure(NOW)
    signers = {
        name: {
            ca
            for ca in certificates.AUTHORITIES
            if pki.issued_by(store.credential(name).cert_pem, store.authority_pem(ca))
        }
        for name in LEAVES
    }
    assert signers == {
        "etcd": {"etcd-ca"},
        "etcd-client": {"etcd-ca"},
        "apiserver": {"server-ca"},
        "controller-manager": {"client-ca"},
        "admin": {"client-ca"},
        "front-proxy": {"front-proxy-ca"},
    }
    assert pki.describe(store.credential("admin").cert_pem).organizations == ("system:masters",)
    assert pki.describe(store.credential("controller-manager").cert_pem).organizations == ()


def test_an_issued_client_carries_user_and_groups_and_is_kept_nowhere(
    store: CertificateStore, layout: Layout
) -> None:
    store.ensure(NOW)
    before = sorted(layout.pki.iterdir())
    info = pki.describe(store.issue_client("gateway", ["impersonators"], NOW).cert_pem)
    assert (info.common_name, info.organizations) == ("gateway", ("impersonators",))
    assert sorted(layout.pki.iterdir()) == before
