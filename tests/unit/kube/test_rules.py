"""What RBAC rules cover; that the API server agrees is tested on a real one (tests/integration/kube)."""

from __future__ import annotations

import pytest

from outrider.kube.rules import Rights, Rule, Rules

GROUP = "management.cattle.io"


def rules(*held: Rule) -> Rules:
    return Rules(held)


def rule(verbs: str, groups: str, resources: str, names: str = "") -> Rule:
    return Rule(
        verbs=tuple(verbs.split()),
        api_groups=tuple("" if group == "core" else group for group in groups.split()),
        resources=tuple(resources.split()),
        resource_names=tuple(names.split()),
    )


def paths(verb: str, *urls: str) -> Rule:
    return Rule(verbs=(verb,), non_resource_urls=urls)


@pytest.mark.parametrize(
    ("held", "asked", "allowed"),
    [
        (rule("get", GROUP, "clusters"), ("get", GROUP, "clusters", "c-1"), True),
        (rule("get", GROUP, "clusters"), ("get", GROUP, "clusters", ""), True),
        (rule("get", GROUP, "clusters"), ("list", GROUP, "clusters", ""), False),
        (rule("get", GROUP, "clusters", "c-1"), ("get", GROUP, "clusters", "c-1"), True),
        (rule("get", GROUP, "clusters", "c-1"), ("get", GROUP, "clusters", "c-2"), False),
        (rule("get", GROUP, "clusters", "c-1"), ("get", GROUP, "clusters", ""), False),
        (rule("*", "*", "*"), ("explode", "any", "thing/below", "x"), True),
        (rule("get", "core", "pods"), ("get", "", "pods/log", "x"), False),
        (rule("get", "core", "pods/log"), ("get", "", "pods/log", "x"), True),
        (rule("get", "core", "*/log"), ("get", "", "pods/log", "x"), True),
        (rule("get", "core", "*/log"), ("get", "", "pods", "x"), False),
        (rule("get", "core", "*"), ("get", "apps", "deployments", "x"), False),
    ],
)
def test_one_rule(held: Rule, asked: tuple[str, str, str, str], allowed: bool) -> None:
    assert rules(held).allows(*asked) is allowed


def test_names_are_those_of_all_rules_or_every_one() -> None:
    named = rules(rule("get", GROUP, "clusters", "a b"), rule("*", GROUP, "*", "c"))
    assert named.names("get", GROUP, "clusters") == {"a", "b", "c"}
    assert named.names("list", GROUP, "clusters") == {"c"}
    assert named.names("get", "", "pods") == frozenset()
    assert rules(*named, rule("get", GROUP, "clusters")).names("get", GROUP, "clusters") is None
    assert named.allows_some("get", GROUP, "clusters")
    assert not named.allows_some("get", "", "pods")


def test_a_namespace_that_was_looked_at_has_rules_of_its_own() -> None:
    rights = Rights(rules(rule("get", "core", "pods")))
    here = rights.within({"a": rules(rule("get", "core", "pods"), rule("delete", "core", "pods"))})
    assert here.allows("delete", "", "pods", name="x", namespace="a")
    assert not here.allows("delete", "", "pods", name="x", namespace="b")
    assert not here.allows("delete", "", "pods")
    assert here.allows("get", "", "pods", name="x", namespace="b")
    assert here.allows_some("delete", "", "pods")
    assert not rights.allows_some("delete", "", "pods")


@pytest.mark.parametrize(
    ("held", "wanted", "lacking"),
    [
        (rule("get list", "core", "pods"), rule("get", "core", "pods"), 0),
        (rule("get", "core", "pods"), rule("get list", "core apps", "pods"), 3),
        (rule("*", "*", "*"), rule("* get", "* core", "* pods/log", "x"), 0),
        (rule("get list watch create update patch delete", "core", "pods"), rule("*", "core", "pods"), 1),
        (rule("get", "core", "pods", "a b"), rule("get", "core", "pods", "a"), 0),
        (rule("get", "core", "pods", "a"), rule("get", "core", "pods", "a b"), 1),
        (rule("get", "core", "pods", "a"), rule("get", "core", "pods"), 1),
        (rule("get", "core", "*/log"), rule("get", "core", "pods/log */log"), 0),
        (rule("get", "core", "pods/*"), rule("get", "core", "pods/log"), 1),
        (Rule(verbs=("get",), non_resource_urls=("/a/*",)), paths("get", "/a/b", "/a/*", "/a/"), 0),
        (Rule(verbs=("get",), non_resource_urls=("/a/*",)), paths("get", "/ab", "/a", "*"), 3),
        (Rule(verbs=("*",), non_resource_urls=("*",)), paths("post", "/x", "*"), 0),
        (rule("*", "*", "*"), paths("get", "/healthz"), 1),
    ],
)
def test_what_is_lacking_is_told_one_by_one(held: Rule, wanted: Rule, lacking: int) -> None:
    assert len(list(rules(held).lacks([wanted]))) == lacking
