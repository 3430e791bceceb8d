"""The tables of settings and features."""

from __future__ import annotations

import re

import pytest

from outrider.apis.management import Feature, features
from outrider.apis.management.feature import FeatureSpec, FeatureStatus
from outrider.apis.management.settings import (
    BY_NAME,
    DEFINITIONS,
    PUBLIC_NAMES,
    Check,
    Definition,
    value_rules,
)
from outrider.kube.meta import ObjectMeta

# What clients read before anybody has signed in (contract, auth-and-rbac §1.1).
_PUBLIC = {"cacerts", "first-login", "ui-banners", "ui-issues", "ui-pl", "ui-brand", "ui-default-landing"}
# What a Terraform run and the command line read or write first (contract, clients §1).
_CLIENTS = {"k8s-version", "server-version", "server-url", "cacerts", "eula-agreed", "ui-default-landing"}


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len(DEFINITIONS)


def test_public_settings_are_those_of_the_contract() -> None:
    assert PUBLIC_NAMES == _PUBLIC


def test_settings_that_clients_need_are_known() -> None:
    assert set(BY_NAME) >= _CLIENTS


def test_server_version_is_a_semantic_version() -> None:
    assert re.fullmatch(r"v[0-9]+\.[0-9]+\.[0-9]+", BY_NAME["server-version"].default)


@pytest.mark.parametrize("one", [one for one in DEFINITIONS if one.default], ids=lambda one: one.name)
def test_defaults_pass_their_own_check(one: Definition) -> None:
    # The pattern stands in a CEL string, where a backslash is written twice.
    pattern = one.check.pattern.replace("\\\\", "\\")
    assert not pattern or re.fullmatch(pattern, one.default)


def test_each_check_is_one_rule_over_its_settings() -> None:
    rules = value_rules()
    assert len(rules) == len(Check) - 1
    url = next(rule for rule in rules if Check.URL.demand in rule.message)
    assert "'server-url'" in url.rule
    assert "'ui-pl'" not in url.rule


def test_variable_of_a_setting() -> None:
    assert BY_NAME["server-url"].variable == "CATTLE_SERVER_URL"


@pytest.mark.parametrize(
    ("locked", "chosen", "default", "effective"),
    [
        (None, None, True, True),
        (None, None, False, False),
        (None, None, None, False),
        (None, False, True, False),
        (None, True, False, True),
        (False, True, True, False),
        (True, False, False, True),
    ],
)
def test_effective_value_of_a_feature(
    locked: bool | None, chosen: bool | None, default: bool | None, effective: bool
) -> None:
    status = FeatureStatus(default=default, locked_value=locked)
    assert Feature(spec=FeatureSpec(value=chosen), status=status).enabled is effective


def test_a_feature_without_status_has_the_default_of_this_version() -> None:
    assert Feature(metadata=ObjectMeta(name="crt-token-ttl-rotation")).enabled is True
    assert Feature(metadata=ObjectMeta(name="hide-local-auth-provider")).enabled is False
    assert Feature(metadata=ObjectMeta(name="of-another-version")).enabled is False


def test_a_locked_feature_ignores_what_was_chosen() -> None:
    feature = Feature(metadata=ObjectMeta(name="token-hashing"), spec=FeatureSpec(value=False))
    assert feature.enabled is True


def test_retired_features_are_not_known() -> None:
    assert not set(features.BY_NAME) & features.RETIRED
