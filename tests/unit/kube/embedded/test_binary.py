import subprocess
import sys
from pathlib import Path

import pytest

from outrider.kube.embedded import binary


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "kube"
    folder.mkdir()
    for name in binary.INPUTS:
        (folder / name).write_text(f"content of {name}")
    return folder


@pytest.mark.parametrize("name", binary.INPUTS)
def test_every_input_changes_the_hash(sources: Path, name: str) -> None:
    before = binary.input_hash(sources)
    (sources / name).write_text("changed")
    assert binary.input_hash(sources) != before


def test_the_version_changes_the_hash_and_nothing_else_does(sources: Path) -> None:
    before = binary.input_hash(sources)
    assert binary.input_hash(sources, "v1.99.0") != before
    (sources / "README.md").write_text("prose")
    (sources / "go.mod").touch()
    assert binary.input_hash(sources) == before


def test_moving_bytes_from_one_input_to_the_next_changes_the_hash(sources: Path) -> None:
    (sources / "main.go").write_text("ab")
    (sources / "go.mod").write_text("c")
    before = binary.input_hash(sources)
    (sources / "main.go").write_text("a")
    (sources / "go.mod").write_text("bc")
    assert binary.input_hash(sources) != before


def test_a_missing_input_is_an_error(sources: Path) -> None:
    (sources / "go.sum").unlink()
    with pytest.raises(FileNotFoundError, match=r"go\.sum"):
        binary.input_hash(sources)


def test_the_cache_follows_xdg_only_when_it_is_absolute(sources: Path) -> None:
    assert binary.cached_binary(sources, {"XDG_CACHE_HOME": "/c"}).parent.parent == Path("/c/outrider/kube")
    expected = Path.home() / ".cache/outrider/kube" / binary.input_hash(sources) / "outrider-kube"
    assert binary.cached_binary(sources, {"XDG_CACHE_HOME": "relative"}) == expected


def test_the_environment_variable_wins(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.touch(mode=0o755)
    assert binary.find_binary({"OUTRIDER_KUBE": str(program)}) == program


@pytest.mark.parametrize("mode", [None, 0o644])
def test_an_unusable_binary_is_refused_with_what_to_do(tmp_path: Path, mode: int | None) -> None:
    program = tmp_path / "program"
    if mode is not None:
        program.touch(mode=mode)
    with pytest.raises(binary.BinaryNotFoundError, match=r"program .* run `make setup`") as caught:
        binary.find_binary({"OUTRIDER_KUBE": str(program)})
    assert "OUTRIDER_KUBE" in str(caught.value)


def test_without_the_variable_the_cache_is_named(tmp_path: Path) -> None:
    with pytest.raises(binary.BinaryNotFoundError, match=f"^{tmp_path}/outrider/kube/[0-9a-f]{{16}}/"):
        binary.find_binary({"XDG_CACHE_HOME": str(tmp_path)})


def test_the_module_needs_nothing_but_the_standard_library() -> None:
    """The set-up tool loads it with any Python, before anything is installed."""
    code = "import runpy, sys; print(runpy.run_path(sys.argv[1])['BINARY_NAME'])"
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, binary.__file__], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "outrider-kube"
