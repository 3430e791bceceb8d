import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.apis.management.setting import Setting
from outrider.apis.management.settings import BY_NAME
from outrider.features.auth.settings import (
    BASIC_AUTH,
    BODY_LIMIT,
    MAX_TTL,
    AuthSettings,
    environment_name,
)


class Stored:
    def __init__(self, values: dict[str, tuple[str, str]]) -> None:
        self._values = values

    def get(self, key):
        if key.name not in self._values:
            return None
        value, default = self._values[key.name]
        return Setting(value=value, default=default)


def settings(stored: dict | None = None, environ: dict | None = None) -> AuthSettings:
    return AuthSettings(Stored(stored or {}), environ or {})


def test_the_environment_wins_then_the_value_then_the_default():
    stored = {MAX_TTL: ("5", "6")}
    assert settings(stored, {"CATTLE_AUTH_TOKEN_MAX_TTL_MINUTES": "4"}).number(MAX_TTL) == 4
    assert settings(stored).number(MAX_TTL) == 5
    assert settings({MAX_TTL: ("", "6")}).number(MAX_TTL) == 6
    assert settings().number(MAX_TTL) == 129600


def test_an_empty_environment_variable_is_a_value():
    assert settings({"server-url": ("https://a", "")}, {"CATTLE_SERVER_URL": ""}).text("server-url") == ""


def test_nonsense_counts_as_the_default():
    stored = {MAX_TTL: ("soon", ""), BASIC_AUTH: ("perhaps", ""), BODY_LIMIT: ("-1", "")}
    assert settings(stored).number(MAX_TTL) == 129600
    assert settings(stored).flag(BASIC_AUTH) is True
    assert settings(stored).size(BODY_LIMIT) == 2**20


@pytest.mark.parametrize(("text", "size"), [("1Mi", 2**20), ("512", 512), ("2k", 2000), ("1Gi", 2**30)])
def test_sizes(text, size):
    assert settings({BODY_LIMIT: (text, "")}).size(BODY_LIMIT) == size


def test_flags():
    assert settings({BASIC_AUTH: ("False", "")}).flag(BASIC_AUTH) is False


def test_names_in_the_environment():
    assert environment_name("auth-token-max-ttl-minutes") == "CATTLE_AUTH_TOKEN_MAX_TTL_MINUTES"


@given(st.sampled_from(sorted(BY_NAME)), st.text(max_size=20))
def test_no_value_breaks_reading(name, value):
    stored = settings({name: (value, "")})
    stored.text(name)
    if BY_NAME[name].default.isdigit():
        assert isinstance(stored.number(name), int)
    assert stored.size(BODY_LIMIT) >= 0
