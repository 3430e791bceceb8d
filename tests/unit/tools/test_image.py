"""Images without a container engine: what the Containerfile says, the same bytes each time."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from outrider.kit import compiled
from tools.image import containerfile, packages, python, shell
from tools.image.__main__ import main
from tools.image.build import Builder
from tools.image.oci import Settings, architecture, write_image, write_layer

ROOT = Path(__file__).resolve().parents[3]
CONTAINERFILE = ROOT / "images" / "Containerfile"


class Opened:
    """An image in a tar file, its digests checked while it is read."""

    def __init__(self, path: Path) -> None:
        with tarfile.open(path) as archive:
            self._files = {entry.name: archive.extractfile(entry) for entry in archive}
            self.content = {name: file.read() for name, file in self._files.items() if file}
        index = json.loads(self.content["index.json"])
        (self.named,) = index["manifests"]
        self.manifest = json.loads(self.blob(self.named))
        self.config = json.loads(self.blob(self.manifest["config"]))
        self.layers = [self.blob(layer) for layer in self.manifest["layers"]]

    def blob(self, descriptor: dict[str, Any]) -> bytes:
        algorithm, _, digest = descriptor["digest"].partition(":")
        data = self.content[f"blobs/{algorithm}/{digest}"]
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (digest, descriptor["size"])
        return data


def tree(root: Path) -> Path:
    """A small folder with every kind of file."""
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "run").write_text("#!/bin/sh\n")
    (root / "bin" / "run").chmod(0o700)
    (root / "bin" / "also").symlink_to("run")
    (root / "secretive").write_text("x")
    (root / "secretive").chmod(0o600)
    (root / "tmp").mkdir(mode=0o700)
    return root


class TestLayer:
    def test_owner_time_and_umask_do_not_matter(self, tmp_path: Path) -> None:
        first, second = tree(tmp_path / "a"), tree(tmp_path / "b")
        os.utime(second / "secretive", (1, 1))
        (second / "secretive").chmod(0o666)
        for folder in (first, second):
            write_layer(folder, folder.with_suffix(".tar"))
        assert first.with_suffix(".tar").read_bytes() == second.with_suffix(".tar").read_bytes()

    def test_everybody_may_read_and_run(self, tmp_path: Path) -> None:
        write_layer(tree(tmp_path / "a"), tmp_path / "layer")
        with tarfile.open(tmp_path / "layer") as archive:
            modes = {entry.name: entry.mode for entry in archive}
            assert archive.getmember("bin/also").linkname == "run"
            assert {(entry.uid, entry.gid, entry.mtime) for entry in archive} == {(0, 0, 0)}
        assert modes == {"bin": 0o755, "bin/run": 0o755, "bin/also": 0o777, "secretive": 0o644, "tmp": 0o1777}


class TestImage:
    def test_it_holds_its_layers_and_says_how_to_run(self, tmp_path: Path) -> None:
        write_layer(tree(tmp_path / "a"), tmp_path / "layer")
        settings = Settings(("/bin/run", "now"), ("A=1",), "7:8", "/bin", {"k": "v"})
        write_image(tmp_path / "image", "docker.io/x/y:z", [tmp_path / "layer"] * 2, settings)
        image = Opened(tmp_path / "image")
        assert image.named["annotations"]["io.containerd.image.name"] == "docker.io/x/y:z"
        assert image.layers == [(tmp_path / "layer").read_bytes()] * 2
        assert image.config["rootfs"]["diff_ids"] == [layer["digest"] for layer in image.manifest["layers"]]
        assert image.config["config"] == {
            "Entrypoint": ["/bin/run", "now"],
            "Env": ["A=1"],
            "Labels": {"k": "v"},
            "User": "7:8",
            "WorkingDir": "/bin",
        }

    @pytest.mark.parametrize(
        ("machine", "name"), [("x86_64", "amd64"), ("aarch64", "arm64"), ("s390x", "s390x")]
    )
    def test_architectures(self, machine: str, name: str) -> None:
        assert architecture(machine) == name


class TestContainerfile:
    def read(self, tmp_path: Path, text: str) -> Settings:
        (tmp_path / "Containerfile").write_text(text)
        return containerfile.read(tmp_path / "Containerfile")

    def test_the_last_stage_counts(self, tmp_path: Path) -> None:
        text = (
            'FROM a AS b\nENV X=1\nUSER root\nENTRYPOINT ["b"]\nFROM c\n# ENV Y=0\nENV Y=2 \\\n    Z="a b"\n'
            'LABEL l=m\nENTRYPOINT ["d"]\n'
        )
        assert self.read(tmp_path, text) == Settings(("d",), ("Y=2", "Z=a b"), "", "/", {"l": "m"})

    @pytest.mark.parametrize("line", ["ADD x y", "VOLUME /data", 'CMD ["x"]', "EXPOSE 80", "SHELL sh"])
    def test_what_it_does_not_know_it_says(self, tmp_path: Path, line: str) -> None:
        with pytest.raises(
            containerfile.ContainerfileError, match=f"{line.split(maxsplit=1)[0]} is not taken over"
        ):
            self.read(tmp_path, f'FROM a\n{line}\nENTRYPOINT ["b"]\n')

    @pytest.mark.parametrize("text", ["FROM a\n", "FROM a\nENTRYPOINT run it\n"])
    def test_an_entry_point_is_needed(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(containerfile.ContainerfileError, match="ENTRYPOINT in JSON form"):
            self.read(tmp_path, text)


class TestEquivalence:
    """The image that tests run is the one that the Containerfile describes."""

    def test_the_settings_are_those_of_the_containerfile(self) -> None:
        settings = containerfile.read(CONTAINERFILE)
        assert settings.entrypoint == (f"/{packages.HOME}/bin/outrider", "agent")
        assert settings.user == "65532:65532"
        assert settings.environment == (
            f"PATH=/{packages.HOME}/bin:/usr/local/bin:/usr/bin:/bin",
            "PYTHONDONTWRITEBYTECODE=1",
            "PYTHONUNBUFFERED=1",
        )

    def test_the_last_stage_takes_what_the_builder_takes(self) -> None:
        """A new line there needs its counterpart in tools/image, then here."""
        steps = [
            rest
            for word, rest in containerfile.last_stage(CONTAINERFILE.read_text())
            if word in {"RUN", "COPY"}
        ]
        assert [step for step in steps if not step.startswith("rm -rf ")] == [
            f"--from=build /{packages.HOME} /{packages.HOME}",
            f"LICENSE /{packages.HOME}/LICENSE",
        ]

    def test_both_install_the_same_lock(self) -> None:
        text = CONTAINERFILE.read_text()
        assert "--requirement images/agent.lock" in text
        installed = {
            package.name.lower().replace("_", "-")
            for package in packages.distributions(ROOT / "images/agent.lock")
        }
        assert installed == set(packages.locked(ROOT / "images/agent.lock"))

    def test_both_compile_the_data_path(self) -> None:
        assert f'python -m tools.compile "$packages/{compiled.PACKAGE}"' in CONTAINERFILE.read_text()

    def test_a_package_of_another_version_is_named(self, tmp_path: Path) -> None:
        lock = tmp_path / "agent.lock"
        lock.write_text("click==0.0.1 \\\n    --hash=sha256:00\nnot-there==1 \\\n")
        with pytest.raises(
            packages.WrongPackagesError, match=r"click 0\.0\.1 \(installed: .*not-there 1 \(not ins"
        ):
            packages.distributions(lock)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent's image, built from nothing."""
    return Builder(ROOT, tmp_path_factory.mktemp("cache")).agent()


class TestBuilder:
    def test_it_builds_the_same_bytes_again(self, built: Path, tmp_path: Path) -> None:
        again = Builder(ROOT, tmp_path).agent()
        assert again.name == built.name
        assert again.read_bytes() == built.read_bytes()

    def test_what_is_cached_is_not_built_again(self, built: Path) -> None:
        before = built.stat().st_mtime_ns
        assert Builder(ROOT, built.parent).agent() == built
        assert built.stat().st_mtime_ns == before

    def test_the_agent_is_complete(self, built: Path, tmp_path: Path) -> None:
        image = Opened(built)
        names: set[str] = set()
        for number, layer in enumerate(image.layers):
            path = tmp_path / str(number)
            path.write_bytes(layer)
            with tarfile.open(path) as archive:
                names |= set(archive.getnames())
        assert f"{packages.HOME}/bin/outrider" in names
        assert f"{packages.HOME}/LICENSE" in names
        assert f"{packages.SITE}/outrider/agent/program.py" in names
        assert f"{packages.SITE}/msgspec/__init__.py" in names
        path = f"{packages.SITE}/{compiled.PACKAGE}/{compiled.file_of('outrider.tunnel.agent')}"
        assert (path in names) is bool(packages.compiled_key())
        sources = {name for name in names if name.startswith(packages.SITE) and name.endswith(".py")}
        cached = [name for name in names if name.startswith(packages.SITE) and name.endswith(".pyc")]
        assert len(cached) > 0.95 * len(sources)
        assert not [name for name in names if "/pip/" in name or "/ensurepip/" in name]
        assert image.config["config"]["User"] == "65532:65532"


class TestPython:
    @pytest.mark.parametrize("home", [None, "/usr"])
    def test_the_interpreters_libraries_are_found_wherever_it_is_installed(
        self, monkeypatch: pytest.MonkeyPatch, home: str | None
    ) -> None:
        if home:
            monkeypatch.setattr(sys, "prefix", home)
        found = python.libraries([python.interpreter()])
        assert "libc.so.6" in found
        assert [name for name in found if name.startswith("/")], "the loader"
        assert all(path.is_file() for path in found.values())


class TestShell:
    def test_a_missing_busybox_is_a_clear_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        with pytest.raises(shell.NoBusyboxError, match="apt-get install busybox-static"):
            shell.busybox()

    def test_one_that_needs_libraries_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "busybox").symlink_to("/bin/sh")
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        with pytest.raises(shell.NoBusyboxError, match="needs shared libraries"):
            shell.busybox()


class TestCommand:
    def test_an_unknown_image_lists_the_known_ones(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main(["nonsense"])
        assert "no image nonsense; there are: agent, shell, pause" in capsys.readouterr().err

    def test_a_failure_is_one_message(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("PATH", "")
        assert main(["shell", "--cache", str(tmp_path)]) == 1
        assert "busybox is not installed" in capsys.readouterr().err
