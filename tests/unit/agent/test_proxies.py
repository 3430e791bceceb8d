from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.agent.proxies import proxy_for

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
    found = proxy_for(origin, {"https_proxy": PROXY, "no_proxy": no_proxy})
    assert found == ("" if direct else PROXY)


def test_a_proxy_without_scheme_is_http() -> None:
    assert proxy_for("https://a.example", {"https_proxy": "proxy:3128"}) == "http://proxy:3128"


def test_without_a_proxy_there_is_none() -> None:
    assert proxy_for("https://a.example", {"no_proxy": "*"}) == ""


@given(st.text())
def test_no_text_of_no_proxy_breaks_it(text: str) -> None:
    assert proxy_for("https://rancher.example.org", {"https_proxy": PROXY, "no_proxy": text}) in ("", PROXY)
