"""Building the embedded Kubernetes: once, alone, leaving only the binary. A stand-in plays the compiler."""

import fcntl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.setup import go, kube
from tools.setup.places import Places
from tools.setup.progress import Progress, SetupError

# Writes into its caches as the compiler does, notes that it was called, and makes a "binary".
COMPILER = """#!/bin/sh
if [ "$1" = env ]; then echo go1.26.8; exit 0; fi
echo "$@" >> "$CALLS"
mkdir -p "$GOCACHE" "$GOMODCACHE" && touch "$GOCACHE/object" "$GOMODCACHE/module"
[ -z "$FAIL" ] || { echo "kube/main.go:1: $FAIL"; exit 1; }
while [ "$1" != -o ]; do shift; done
printf '#!/bin/sh\\necho v1.34.2\\n' > "$2" && chmod 755 "$2"
"""


@pytest.fixture
def places(checkout: Callable[..., Places], tmp_path: Path) -> Callable[..., Places]:
    compiler = tmp_path / "bin" / "go"
    compiler.parent.mkdir()
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)

    def make(**environ: str) -> Places:
        path = f"{compiler.parent}:/usr/bin:/bin"
        return checkout(PATH=path, CALLS=str(tmp_path / "calls"), **environ)

    return make


def calls(places: Places) -> list[str]:
    file = Path(places.environ["CALLS"])
    return file.read_text().splitlines() if file.exists() else []


def test_it_is_built_once_and_only_the_binary_is_kept(places: Callable[..., Places]) -> None:
    here, lines = places(), list[str]()
    binary = kube.provide(here, Progress(lines.append))
    assert binary == here.kube_binary
    assert kube.provide(here, Progress(lines.append)) == binary
    assert len(calls(here)) == 1
    left = sorted(str(path.relative_to(here.cache)) for path in here.cache.rglob("*") if path.is_file())
    assert left == [str(binary.relative_to(here.cache)), "kube/lock"]
    assert any("minutes" in line for line in lines)


def test_a_changed_source_is_another_binary(places: Callable[..., Places]) -> None:
    here = places()
    before = kube.provide(here, Progress(print))
    with (here.kube_sources / "main.go").open("a") as file:
        file.write("// changed\n")
    after = kube.provide(here, Progress(print))
    assert after != before
    assert before.exists()
    assert len(calls(here)) == 2


def test_a_failed_build_tells_the_compilers_words_and_leaves_nothing(places: Callable[..., Places]) -> None:
    here = places(FAIL="undefined: etcdmain")
    with pytest.raises(SetupError, match=r"(?s)building Kubernetes: .*undefined: etcdmain"):
        kube.provide(here, Progress(print))
    assert [path.name for path in (here.cache / "kube").iterdir()] == ["lock"]


def test_what_a_killed_build_left_is_removed(places: Callable[..., Places]) -> None:
    here = places()
    left = here.cache / "kube" / "build-killed" / "modules"
    left.mkdir(parents=True)
    (left / "module").touch()
    kube.provide(here, Progress(print))
    assert not left.parent.exists()


def test_two_set_ups_build_once(places: Callable[..., Places]) -> None:
    here, lines = places(), list[str]()
    folder = here.cache / "kube"
    folder.mkdir(parents=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = threading.Event()

        def write(line: str) -> None:
            lines.append(line)
            waiting.set()

        second = threading.Thread(target=kube.provide, args=(here, Progress(write)))
        second.start()
        assert waiting.wait(10)
        assert "another set-up" in lines[0]
        here.kube_binary.parent.mkdir(parents=True)
        here.kube_binary.write_text("#!/bin/sh\necho v1.34.2\n")
        here.kube_binary.chmod(0o755)
    second.join(10)
    assert not second.is_alive()
    assert calls(here) == []


def test_the_compiler_is_told_the_version_that_go_mod_pins(places: Callable[..., Places]) -> None:
    here = places()
    kube.provide(here, Progress(print))
    assert "k8s.io/component-base/version.gitVersion=v1.34.2" in calls(here)[0]
    assert "version.gitMajor=1" in calls(here)[0]
    assert "version.gitMinor=34" in calls(here)[0]


def test_too_little_room_is_said_before_anything_is_downloaded(
    places: Callable[..., Places], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = places()
    monkeypatch.setattr(kube, "SPACE_NEEDED", 1 << 62)
    with pytest.raises(SetupError, match=r"needs 6 GB .*OUTRIDER_KUBE"):
        kube.provide(here, Progress(print))
    assert calls(here) == []


@pytest.mark.parametrize(
    ("go_mod", "version"),
    [("module x\n\ngo 1.26\n", (1, 26)), ("go 1.25.3\ntoolchain go1.27\n", (1, 25, 3))],
)
def test_the_go_that_is_needed(go_mod: str, version: tuple[int, ...]) -> None:
    assert go.required_version(go_mod) == version


def test_an_old_go_on_the_path_is_passed_over(places: Callable[..., Places]) -> None:
    here = places()
    old = here.root / "bin" / "go"
    old.write_text("#!/bin/sh\necho go1.19.8\n")
    own = here.tools / "go" / "go" / "bin" / "go"
    own.parent.mkdir(parents=True)
    own.write_text("#!/bin/sh\necho go1.27.3\n")
    own.chmod(0o755)
    assert go.find_go(here, Progress(print)) == own


def test_a_go_that_does_not_run_is_older_than_any(tmp_path: Path) -> None:
    assert go.installed_version(tmp_path / "none", {}) == ()
