"""The generated files."""

from __future__ import annotations

from pathlib import Path

import pytest

from outrider.apis.crd import custom_resource_definition
from outrider.apis.kinds import KINDS
from outrider.kit import yaml
from tools.generate import CRDS, ROOT, generated, kept, main, outdated


def test_files_in_the_project_are_up_to_date() -> None:
    assert outdated(ROOT, generated()) == []


def test_chart_holds_exactly_what_is_installed_at_start() -> None:
    files = generated()
    for kind in KINDS:
        definition = custom_resource_definition(kind)
        text = files[CRDS / f"{definition['metadata']['name']}.yaml"]
        assert yaml.load(text) == kept(definition)
        # Helm reads templates: nothing of ours may look like an action.
        assert "{{" not in text


def test_uninstalling_the_chart_keeps_the_data() -> None:
    crds = [yaml.load(text) for path, text in generated().items() if path.parent == CRDS]
    assert len(crds) == len(KINDS)
    assert {one["metadata"]["annotations"]["helm.sh/resource-policy"] for one in crds} == {"keep"}


def test_check_names_what_is_old_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--check"], tmp_path) == 1
    assert list(tmp_path.iterdir()) == []
    assert (
        "out of date: charts/outrider-crds/templates/users.management.cattle.io.yaml"
        in capsys.readouterr().out
    )


def test_writing_settles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], tmp_path) == 0
    (tmp_path / CRDS / "gone.example.com.yaml").write_text("old")
    (tmp_path / CRDS / "users.management.cattle.io.yaml").write_text("edited")
    assert main(["--check"], tmp_path) == 1
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0
    assert not (tmp_path / CRDS / "gone.example.com.yaml").exists()
    capsys.readouterr()
