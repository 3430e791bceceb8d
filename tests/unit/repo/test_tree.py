"""What no file of the project may hold: paths of somebody's machine, and the hosts of package registries."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

# Put together here, so that this file does not hold them.
HOSTS = [
    "pypi" + ".org",
    "pythonhosted" + ".org",
    "proxy.golang" + ".org",
    "sum.golang" + ".org",
    "registry.npmjs" + ".org",
    "repo1.maven" + ".org",
    "deb.debian" + ".org",
    "ghcr" + ".io",
    "registry.k8s" + ".io",
]
MACHINE = re.compile(r"(?<![\w.$~}-])/(?:root|work|home/\w+|Users/\w+|opt/wheels)/")
MARKERS = re.compile(r"^(?:<{7}|>{7}|={7})(?: |$)", re.MULTILINE)


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def faults(text: str) -> list[str]:
    found = [host for host in HOSTS if host in text]
    found += [match.group() for match in MACHINE.finditer(text)]
    return found + ["merge marker" for _ in MARKERS.finditer(text)]


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = {}
    for name in tracked():
        content = (ROOT / name).read_bytes()
        if b"\0" not in content and (wrong := faults(content.decode())):
            found[name] = wrong
    assert found == {}


def test_no_file_is_large() -> None:
    assert [name for name in tracked() if (ROOT / name).stat().st_size > 1 << 20] == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("in /" + "root/.cache/x", 1),
        ("at /" + "home/ann/x and /" + "work/y", 2),
        ("from https://" + HOSTS[0] + "/simple", 1),
        ("<<<<<" + "<< HEAD", 1),
        ("a path like $HOME/root/x, docs/work/x or the ~/root/ folder", 0),
    ],
)
def test_the_check_itself(text: str, count: int) -> None:
    assert len(faults(text)) == count
