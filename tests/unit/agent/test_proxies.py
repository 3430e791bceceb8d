from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.agent.proxies import Proxies

PROXY = "http://proxy.example.org:3128"


@pytest.mark.parametrize(
    ("origin", "no_proxy", "direct"),
    [
        ("https://rancher.example.org", "", False),
        ("https://rancher.example.org", "example.org", True),
        ("https://rancher.example.org", ".example.org", True),
        ("https://rancher.example.org", "*.example.org", True),
        ("https://example.org", ".example.org", False),
        ("https://notexample.org", "example.org", False),
        ("https://rancher.example.org", "*", True),
        ("https://rancher.example.org:8443", "rancher.example.org:8443", True),
        ("https://rancher.example.org:8443", "rancher.example.org:443", False),
        ("https://10.1.2.3", "10.0.0.0/8", True),
        ("https://11.1.2.3", "10.0.0.0/8", False),
        ("https://10.1.2.3", "10.1.2.3", True),
        ("https://[fd00::1]", "fd00::/8", True),
        ("https://[fd00::1]", "[fd00::1]", True),
        ("https://RANCHER.example.org", "Rancher.Example.org", True),
        ("https://127.0.0.1:8443", "", True),
        ("https://localhost", "", True),
        ("https://rancher.example.org", " ,bad/99, example.org ", True),
    ],
)
def test_no_proxy_is_read_as_go_reads_it(origin: str, no_proxy: str, direct: bool) -> None:
    found = Proxies(PROXY, no_proxy).of(origin)
    assert found == ("" if direct else PROXY)


def test_a_proxy_without_scheme_is_http() -> None:
    assert Proxies("proxy:3128").of("https://a.example") == "http://proxy:3128"


def test_without_a_proxy_there_is_none() -> None:
    assert Proxies("", "*").of("https://a.example") == ""


@given(st.text())
def test_no_text_of_no_proxy_breaks_it(text: str) -> None:
    assert Proxies(PROXY, text).of("https://rancher.example.org") in ("", PROXY)


@pytest.mark.parametrize(
    "proxy", ["socks5://p:1", "https://p", "http://", "http://p:99999", "http://[", "http://p:0"]
)
def test_a_proxy_that_cannot_be_used_is_refused(proxy: str) -> None:
    with pytest.raises(ValueError, match="only a proxy"):
        Proxies(proxy)


def test_the_proxys_password_never_shows() -> None:
    assert "secret" not in repr(Proxies("http://me:secret@proxy:3128"))
