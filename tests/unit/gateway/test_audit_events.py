"""Which requests are events of authentication."""

import base64

import pytest

from outrider.gateway import routing
from outrider.gateway.audit_events import event_of, is_login, presented_name
from outrider.link.messages import Verdict
from tests.unit.gateway.audit_samples import exchange, grant


@pytest.mark.parametrize(
    ("method", "uri", "event"),
    [
        ("POST", "/v3-public/localProviders/local?action=login", "login"),
        ("POST", "/v3-public/localProviders/local?a=b&action=login", "login"),
        ("POST", "/v3%2Dpublic/localProviders/local?%61ction=login", "login"),
        ("POST", "/v1-public/login", "login"),
        ("POST", "/v1/logout?all", "logout"),
        ("POST", "/v3/tokens?action=logout", "logout"),
        ("POST", "/v3/tokens", "tokenCreate"),
        ("POST", "/v3/token", "tokenCreate"),
        ("POST", "/v1/ext.cattle.io.tokens", "tokenCreate"),
        ("DELETE", "/v3/tokens/token-abcde", "tokenDelete"),
        ("POST", "/v3/clusters/c-1?action=generateKubeconfig", "kubeconfigCreate"),
        ("POST", "/v1/management.cattle.io.clusters/c-1?action=generateKubeconfig", "kubeconfigCreate"),
        ("POST", "/v3/users?action=changepassword", "passwordChange"),
        ("POST", "/v3/users/u-1?action=setpassword", "passwordChange"),
        ("GET", "/v3/tokens", ""),
        ("GET", "/v3-public/authProviders", ""),
        ("POST", "/v3/clusters", ""),
    ],
)
def test_events(method: str, uri: str, event: str) -> None:
    one = exchange(uri.encode(), method=method.encode(), route=routing.CONTROL)
    assert event_of(one) == event
    assert is_login(one) == (event == "login")


def test_a_refused_credential_is_an_event_anywhere() -> None:
    for status in (401, 429):
        refused = grant(Verdict(id=1, status=status))
        assert event_of(exchange(status=status, grant=refused)) == "authentication"
        assert event_of(exchange(status=status, grant=None)) == "authentication"
        assert event_of(exchange(status=status, grant=refused, credential=b"")) == ""
        assert event_of(exchange(status=status, grant=grant())) == "", "the cluster's own answer"
    assert event_of(exchange(status=403)) == ""


@pytest.mark.parametrize(
    ("credential", "name"),
    [
        (b"Basic " + base64.b64encode(b"eve:Canary"), "eve"),
        (b"basic " + base64.b64encode("é:x:y".encode()), "é"),
        (b"Basic " + base64.b64encode(b"bcdfghjklmnpqrstvwxz2456789bcdfghjklmnpqrstvwxz2456789"), ""),
        (b"Basic " + base64.b64encode(b"\xff:x"), ""),
        (b"Basic eve:Canary", ""),
        (b"Bearer " + base64.b64encode(b"eve:Canary"), ""),
        (b"", ""),
    ],
)
def test_the_name_of_http_basic(credential: bytes, name: str) -> None:
    assert presented_name(exchange(credential=credential)) == name


def test_only_control_has_sign_ins() -> None:
    one = exchange(b"/v1-public/login", method=b"POST", route=routing.CLUSTER)
    assert not is_login(one)
    assert event_of(one) == ""
