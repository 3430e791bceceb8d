"""Reference pages."""

from __future__ import annotations

from outrider.apis.crd import custom_resource_definition
from outrider.apis.kinds import KINDS
from outrider.apis.management import CLUSTERS, NODES
from outrider.apis.management.settings import DEFINITIONS
from outrider.apis.reference import feature_page, index_page, kind_page, setting_page, type_name


def test_kind_page_has_fields_rules_and_columns() -> None:
    page = kind_page(custom_resource_definition(CLUSTERS))
    assert page.startswith("# Cluster (management.cattle.io)\n\nA Kubernetes cluster under management.\n")
    assert "| `spec.displayName` | string | The name that people see; unique" in page
    assert "| `spec.agentEnvVars[].name` | string | Name of the variable. Required." in page
    assert "- `.spec.internal`: internal cannot be changed once it is set" in page
    assert "- `.spec.agentEnvVars[].value`: NO_PROXY must not contain spaces" in page
    assert "| State | `.status.state` |" in page


def test_kind_page_without_rules_has_no_such_section() -> None:
    assert "## Rules" not in kind_page(custom_resource_definition(NODES))


def test_index_leads_to_every_kind() -> None:
    page = index_page(custom_resource_definition(kind) for kind in KINDS)
    for kind in KINDS:
        assert f"({kind.plural}.{kind.group}.md)" in page


def test_setting_page_names_every_setting_and_its_variable() -> None:
    page = setting_page()
    assert all(f"| `{one.name}` |" in page for one in DEFINITIONS)
    assert "`CATTLE_SERVER_URL`" in page


def test_feature_page_says_what_needs_a_restart() -> None:
    page = feature_page()
    assert "| `crt-token-ttl-rotation` | on | no |" in page
    assert "| `fleet` | on | yes |" in page


def test_bars_do_not_break_tables() -> None:
    definition = custom_resource_definition(NODES)
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["description"] = "this | that"
    assert "| `spec` | object | this \\| that |" in kind_page(definition)


def test_type_names() -> None:
    assert type_name({"type": "array", "items": {"type": "string"}}) == "list of string"
    assert type_name({"type": "object", "additionalProperties": {"type": "boolean"}}) == "map to boolean"
    assert type_name({"x-kubernetes-int-or-string": True}) == "integer or string"
    assert type_name({"x-kubernetes-preserve-unknown-fields": True}) == "any"
