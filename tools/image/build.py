"""Puts images together from layers, each kept in a cache under the hash of what it is made of."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.image import containerfile, packages, python, shell
from tools.image.oci import Settings, write_image, write_layer

AGENT_REPOSITORY = "docker.io/outrider/outrider-agent"


@dataclass(frozen=True)
class Layer:
    """What a layer is called, what decides its content, and who fills its folder."""

    name: str
    inputs: str
    fill: Callable[[Path], None]


class Builder:
    """Builds the images of a checkout into a cache folder; what is cached is not built again."""

    def __init__(self, project: Path, cache: Path) -> None:
        self._project = project
        self._cache = cache

    def agent(self) -> Path:
        """The agent's image, equivalent to that of ``images/Containerfile``; the tar file's path."""
        project, lock = self._project, self._project / "images" / "agent.lock"
        layers = (
            Layer("python", python.fingerprint(), python.stage),
            Layer(
                "packages", packages.fingerprint(lock), lambda folder: packages.stage_packages(folder, lock)
            ),
            Layer("agent", _sources(project), lambda folder: packages.stage_agent(folder, project)),
        )
        settings = containerfile.read(project / "images" / "Containerfile")
        return self._image("agent", f"{AGENT_REPOSITORY}:v{_version(project)}", layers, settings)

    def shell(self) -> Path:
        """A busybox that waits for commands."""
        settings = Settings(("/bin/sleep", "2147483647"), ("PATH=/bin:/sbin:/usr/bin:/usr/sbin",))
        return self._image("shell", shell.SHELL_REFERENCE, (self._busybox(),), settings)

    def pause(self) -> Path:
        """What holds a pod's namespaces: any program that stays."""
        settings = Settings(("/bin/sleep", "2147483647"))
        return self._image("pause", shell.PAUSE_REFERENCE, (self._busybox(),), settings)

    def _busybox(self) -> Layer:
        digest = hashlib.sha256(shell.busybox().read_bytes()).hexdigest()
        return Layer("busybox", digest, shell.stage)

    def _image(self, name: str, reference: str, layers: Sequence[Layer], settings: Settings) -> Path:
        self._cache.mkdir(parents=True, exist_ok=True)
        paths = [self._layer(layer) for layer in layers]
        digest = hashlib.sha256(repr((reference, settings, [path.name for path in paths])).encode())
        target = self._cache / f"{name}-{digest.hexdigest()[:16]}.tar"
        if not target.exists():
            write_image(target, reference, paths, settings)
            self._forget(name, target)
        return target

    def _layer(self, layer: Layer) -> Path:
        digest = hashlib.sha256(f"{layer.inputs}\0{_tool()}".encode()).hexdigest()
        target = self._cache / f"layer-{layer.name}-{digest[:16]}.tar"
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=self._cache, prefix="build-") as folder:
                root, unfinished = Path(folder) / "root", Path(folder) / "layer.tar"
                root.mkdir()
                layer.fill(root)
                write_layer(root, unfinished)
                unfinished.replace(target)
            self._forget(f"layer-{layer.name}", target)
        return target

    def _forget(self, name: str, kept: Path) -> None:
        """Removes all but the newest two of a kind: another checkout may be using one."""
        older = sorted(self._cache.glob(f"{name}-*.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in [one for one in older if one != kept][1:]:
            path.unlink(missing_ok=True)


def clear(cache: Path) -> None:
    """Removes everything that was built."""
    shutil.rmtree(cache, ignore_errors=True)


def _version(project: Path) -> str:
    namespace: dict[str, str] = {}
    exec((project / "src" / "outrider" / "__init__.py").read_text(), namespace)  # noqa: S102 - our own file
    return namespace["__version__"]


def _sources(project: Path) -> str:
    digest = hashlib.sha256(f"{python.fingerprint()}\0{packages.compiled_key()}".encode())
    files = (path for path in (project / "src").rglob("*") if path.is_file())
    wanted = [path for path in files if "__pycache__" not in path.parts]
    for path in sorted([*wanted, project / "pyproject.toml", project / "LICENSE", project / "README.md"]):
        digest.update(f"\0{path.relative_to(project)}\0{os.access(path, os.X_OK)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _tool() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
