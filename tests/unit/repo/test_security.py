"""The table of defences names tests that exist, and every advisory's test stands in it."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "reference" / "security.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


def test_every_test_that_is_named_exists() -> None:
    assert len(NAMED) > 50
    for path, name in NAMED:
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), (path, name)


def test_every_advisorys_test_is_named() -> None:
    named = {name for _, name in NAMED}
    found = {
        name
        for path in (ROOT / "tests" / "security").glob("*.py")
        for name in re.findall(r"^(?:async )?def (test_cve_\w+)\(", path.read_text(), re.MULTILINE)
    }
    assert len(found) > 12
    assert found <= named


def test_an_advisory_stands_in_one_row() -> None:
    first = PAGE.partition("These concern parts")[0]
    rows = [line.split("|")[1] for line in first.splitlines() if line.startswith(("| CVE", "| GHSA"))]
    ids = [one for row in rows for one in re.findall(r"(?:CVE|GHSA)-[\w-]+", row)]
    assert len(ids) == len(set(ids))
