"""The agent's image holds what the agent imports, at the versions that were tested, and runs without privileges."""

import re
import sys
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[3]
IMAGES = ROOT / "images"

# Packages whose name on the index is not the name that is imported.
DISTRIBUTIONS = {"yaml": "pyyaml"}


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", lock.read_text(), re.MULTILINE))


def names(listing: Path) -> set[str]:
    return {line for line in listing.read_text().split("\n") if line and not line.startswith("#")}


def imported_by_the_agent() -> set[str]:
    """Distributions that the agent imports itself or through the layers below it."""
    graph = grimp.build_graph("outrider", include_external_packages=True, cache_dir=None)
    modules = graph.find_upstream_modules("outrider.agent", as_package=True)
    packages = {name.partition(".")[0] for name in modules} - {"outrider"} - set(sys.stdlib_module_names)
    return {DISTRIBUTIONS.get(package, package) for package in packages}


def test_the_image_has_what_the_agent_imports() -> None:
    assert imported_by_the_agent() <= names(IMAGES / "agent.in")


def test_what_is_asked_for_is_locked() -> None:
    assert names(IMAGES / "agent.in") <= set(pins(IMAGES / "agent.lock"))
    assert names(IMAGES / "build.in") <= set(pins(IMAGES / "build.lock"))


def test_the_versions_are_those_that_were_tested() -> None:
    tested = pins(ROOT / "requirements.lock")
    shipped = pins(IMAGES / "agent.lock") | pins(IMAGES / "build.lock")
    assert {name: tested.get(name) for name in shipped} == shipped


def test_the_image_runs_without_privileges() -> None:
    lines = (IMAGES / "Containerfile").read_text().splitlines()
    last_stage = lines[max(index for index, line in enumerate(lines) if line.startswith("FROM ")) :]
    users = [line.split()[1] for line in last_stage if line.startswith("USER ")]
    assert users == ["65532:65532"]
    assert not any(re.search(r"\b(ADD|curl|apt-get)\b", line) for line in last_stage)


def test_every_copied_file_is_in_the_build_context() -> None:
    allowed = [
        line[1:] for line in (ROOT / ".containerignore").read_text().splitlines() if line.startswith("!")
    ]
    text = (IMAGES / "Containerfile").read_text()
    copied = {
        word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE) for word in line.split()
    }
    assert copied <= set(allowed)
    assert all(list(ROOT.glob(name)) for name in allowed)
