from __future__ import annotations

from pathlib import Path

import pytest

from outrider.agent.errors import SettingsError
from outrider.agent.settings import AgentSettings, from_environment, origin_of

TOKEN = "bcdfghjklmnpqrstvwxz2456789bcdfghjklmnpqrstvwxz2456789"


def environment(folder: Path, **more: str) -> dict[str, str]:
    """What the manifest and Kubernetes set."""
    return {
        "CATTLE_SERVER": "https://rancher.example.org",
        "CATTLE_CA_CHECKSUM": "ab" * 32,
        "CATTLE_CLUSTER": "true",
        "CATTLE_CREDENTIAL_NAME": "cattle-credentials-0123456789",
        "STRICT_VERIFY": "true",
        "KUBERNETES_SERVICE_HOST": "10.43.0.1",
        "KUBERNETES_SERVICE_PORT": "443",
        "OUTRIDER_AGENT_CREDENTIALS": str(folder),
        **more,
    }


def test_the_manifests_environment_is_understood(tmp_path: Path) -> None:
    settings = from_environment(environment(tmp_path))
    assert settings.server == "https://rancher.example.org"
    assert settings.ca_checksum == "ab" * 32
    assert settings.strict_verify
    assert settings.credential_name == "cattle-credentials-0123456789"
    assert settings.kubernetes_address == "10.43.0.1:443"
    assert (settings.silence, settings.ping_every, settings.give_up_after) == (25.0, 5.0, 600.0)


def test_everything_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    broken = environment(
        tmp_path,
        CATTLE_SERVER="http://rancher.example.org",
        CATTLE_CA_CHECKSUM="beef",
        STRICT_VERIFY="perhaps",
        KUBERNETES_SERVICE_HOST="",
        KUBERNETES_SERVICE_PORT="70000",
        OUTRIDER_AGENT_SILENCE="-1",
    )
    with pytest.raises(SettingsError) as caught:
        from_environment(broken)
    text = str(caught.value)
    for part in ("https://", "CATTLE_CA_CHECKSUM", "STRICT_VERIFY", "SERVICE_HOST", "70000", "SILENCE"):
        assert part in text


def test_a_server_is_needed(tmp_path: Path) -> None:
    bare = environment(tmp_path)
    del bare["CATTLE_SERVER"]
    with pytest.raises(SettingsError, match="registration command"):
        from_environment(bare)


def test_the_mounted_url_is_enough(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("https://other.example.org/\n")
    bare = environment(tmp_path)
    del bare["CATTLE_SERVER"]
    assert from_environment(bare).server == "https://other.example.org"


def test_the_token_goes_to_no_server_that_only_one_of_both_names(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("https://evil.example.org")
    with pytest.raises(SettingsError, match=r"evil\.example\.org"):
        from_environment(environment(tmp_path))


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://a.example.org/path?x=1", "https://a.example.org"),
        ("https://a.example.org:443", "https://a.example.org"),
        ("https://127.0.0.1:8443/", "https://127.0.0.1:8443"),
        ("https://[fd00::1]:8443", "https://[fd00::1]:8443"),
    ],
)
def test_the_path_of_the_server_is_dropped(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "",
        "rancher.example.org",
        "ftp://a",
        "https://",
        "https://a:b@c",
        "https://a:99999",
        "https://a b",
        "https://[zz",
    ],
)
def test_bad_urls_are_refused(url: str) -> None:
    with pytest.raises(SettingsError):
        origin_of(url)


def make(folder: Path) -> AgentSettings:
    return AgentSettings(server="https://a", kubernetes_host="b", credentials=folder)


def test_the_token_is_read_at_each_use(tmp_path: Path) -> None:
    settings = make(tmp_path)
    (tmp_path / "token").write_text(TOKEN + "\n")
    assert settings.tunnel_token() == TOKEN
    (tmp_path / "token").write_text(TOKEN[::-1])
    assert settings.tunnel_token() == TOKEN[::-1]


@pytest.mark.parametrize("token", ["", "short", "has space in the middle", "line\r\nInjected: header-value"])
def test_what_is_no_token_is_never_sent_and_never_shown(tmp_path: Path, token: str) -> None:
    (tmp_path / "token").write_text(token)
    with pytest.raises(SettingsError) as caught:
        make(tmp_path).tunnel_token()
    assert not token or token not in str(caught.value)


def test_a_missing_token_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cattle-credentials"):
        make(tmp_path).tunnel_token()


def test_a_huge_or_binary_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"a" * (2 << 20))
    with pytest.raises(SettingsError, match="bytes"):
        make(tmp_path).tunnel_token()
    (tmp_path / "token").write_bytes(b"\xff\xfe" * 20)
    with pytest.raises(SettingsError, match="not text"):
        make(tmp_path).tunnel_token()


def test_pings_must_be_faster_than_the_silence(tmp_path: Path) -> None:
    slow = environment(tmp_path, OUTRIDER_AGENT_PING_EVERY="40")
    with pytest.raises(SettingsError, match="shorter"):
        from_environment(slow)


def test_proxies_are_read_in_either_case(tmp_path: Path) -> None:
    settings = from_environment(
        environment(tmp_path, HTTPS_PROXY="http://me:hidden@p:1", no_proxy="b.example")
    )
    assert settings.proxies.of("https://a.example") == "http://me:hidden@p:1"
    assert settings.proxies.of("https://b.example") == ""
    assert "hidden" not in repr(settings)
    with pytest.raises(SettingsError, match="HTTPS_PROXY"):
        from_environment(environment(tmp_path, https_proxy="socks5://p"))
