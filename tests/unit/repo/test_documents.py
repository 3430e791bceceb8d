"""The documents keep what they promise: their links lead somewhere, and the commands that they name exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)
MAKE = re.compile(r"\bmake ([a-z][a-z-]*)")


def outside_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def anchors(text: str) -> set[str]:
    """The ids that headings get: lower case, blanks as hyphens, other signs dropped."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def broken_links(document: Path) -> Iterator[str]:
    for link in LINK.findall(outside_code(document.read_text())):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        target = (document.parent / path).resolve() if path else document
        if not target.exists():
            yield f"{link}: no such file"
        elif anchor and anchor not in anchors(target.read_text()):
            yield f"{link}: no such heading"


def names(document: Path) -> str:
    return str(document.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=names)
def test_links_lead_somewhere(document: Path) -> None:
    assert list(broken_links(document)) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=names)
def test_every_make_command_is_a_target(document: Path) -> None:
    blocks = [body for _, body in FENCE.findall(document.read_text())]
    inline = re.findall(r"`(make [^`]*)`", document.read_text())
    named = {name for text in [*blocks, *inline] for name in MAKE.findall(text)}
    assert named <= set(TARGET.findall((ROOT / "Makefile").read_text()))


def test_the_readme_starts_with_its_two_commands() -> None:
    blocks = [body for _, body in FENCE.findall((ROOT / "README.md").read_text())]
    commands = [line.split("#")[0].strip() for line in blocks[0].splitlines()]
    assert commands == ["make demo", "make test"]


def test_decisions_are_numbered_dated_and_complete() -> None:
    decisions = sorted((ROOT / "docs/explanation/decisions").glob("[0-9]*.md"))
    assert [int(page.name[:4]) for page in decisions] == list(range(1, len(decisions) + 1))
    for page in decisions:
        text = page.read_text()
        assert re.search(r"^Date: \d{4}-\d{2}-\d{2}$", text, re.MULTILINE), page
        assert re.findall(r"^## (\w+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], page


def test_the_list_of_decisions_is_complete() -> None:
    folder = ROOT / "docs/explanation/decisions"
    listed = LINK.findall((folder / "index.md").read_text())
    assert sorted(listed) == sorted(page.name for page in folder.glob("[0-9]*.md"))


class TestTheChecksThemselves:
    def test_a_broken_link_is_found(self, tmp_path: Path) -> None:
        (tmp_path / "there.md").write_text("# One thing\n")
        page = tmp_path / "page.md"
        page.write_text(
            "[a](there.md#one-thing) [b](gone.md) [c](there.md#two) `[d](code.md)` [e](https://x.y)\n"
        )
        assert list(broken_links(page)) == ["gone.md: no such file", "there.md#two: no such heading"]
