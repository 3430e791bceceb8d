"""Images like the agent's that behave otherwise: the same layers, another entry point."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tools.image import containerfile
from tools.image.build import AGENT_REPOSITORY
from tools.image.oci import write_image
from tools.setup.places import checkout

CRASHES: Sequence[str] = ("/agent/bin/python", "-c", "raise SystemExit('this image is broken')")
CANNOT_CONNECT: Sequence[str] = (
    "/agent/bin/python",
    "-c",
    "import os; os.execve('/agent/bin/outrider', ['outrider', 'agent'],"
    " {**os.environ, 'HTTPS_PROXY': 'http://127.0.0.1:9'})",
)
"""It starts, but its way to the server leads nowhere."""
FALLS_OVER: Sequence[str] = (
    "/agent/bin/python",
    "-c",
    "import os, sys, threading; threading.Timer(20, os._exit, (1,)).start(); sys.argv = ['outrider', 'agent'];"
    " from outrider.cli.main import main; main()",
)
"""It connects, and dies seconds later."""
NEWER_VERSION = "9.9.9"
NEWER: Sequence[str] = (
    "/agent/bin/python",
    "-c",
    f"import sys, outrider; outrider.__version__ = {NEWER_VERSION!r}; sys.argv = ['outrider', 'agent'];"
    " from outrider.cli.main import main; main()",
)


def variant(agent: Path, tag: str, entrypoint: Sequence[str], folder: Path) -> tuple[str, Path]:
    """The image's name as a setting takes it, and its tar file."""
    layers = _layers(agent, folder)
    settings = containerfile.read(checkout().root / "images" / "Containerfile")
    target = folder / f"{tag}.tar"
    write_image(target, f"{AGENT_REPOSITORY}:{tag}", layers, replace(settings, entrypoint=tuple(entrypoint)))
    return f"{AGENT_REPOSITORY.removeprefix('docker.io/')}:{tag}", target


def _layers(image: Path, folder: Path) -> list[Path]:
    """The layers of an image as files in the folder, the lowest first."""
    with tarfile.open(image) as archive:
        index = _json(archive, "index.json")
        manifest = _json(archive, _blob(index["manifests"][0]))
        names = [_blob(layer) for layer in manifest["layers"]]
        for name in names:
            if not (folder / name).exists():
                blob = archive.extractfile(name)
                assert blob is not None, name
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                with (folder / name).open("wb") as copy:
                    shutil.copyfileobj(blob, copy)
    return [folder / name for name in names]


def _blob(descriptor: dict[str, Any]) -> str:
    algorithm, _, digest = descriptor["digest"].partition(":")
    return f"blobs/{algorithm}/{digest}"


def _json(archive: tarfile.TarFile, name: str) -> dict[str, Any]:
    file = archive.extractfile(name)
    assert file is not None, name
    content: dict[str, Any] = json.load(file)
    return content
