"""Writes an image as an OCI layout in a tar file: the same files give the same bytes.

OCI image format specification 1.1: image-layout, manifest, config.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import stat
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
CREATED = "1970-01-01T00:00:00Z"


@dataclass(frozen=True)
class Settings:
    """What runs in a container of the image, as whom, and with which environment."""

    entrypoint: tuple[str, ...]
    environment: tuple[str, ...] = ()
    user: str = ""
    folder: str = "/"
    labels: Mapping[str, str] = field(default_factory=dict)


def write_layer(root: Path, target: Path) -> None:
    """Pack a folder: sorted, owned by root, without times; modes are reduced to executable or not."""
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as archive:
        for folder, names, files in os.walk(root):
            names.sort()
            for name in sorted([*names, *files]):
                _add(archive, Path(folder) / name, str((Path(folder) / name).relative_to(root)))


def write_image(target: Path, reference: str, layers: Sequence[Path], settings: Settings) -> None:
    """Write the image of ``layers`` (tar files, lowest first) to ``target``, whole or not at all.

    ``reference`` is its full name, with registry and tag.
    """
    digests = [_digest(path) for path in layers]
    config = _json(_config(digests, settings))
    described = [
        _descriptor(LAYER, digest, path.stat().st_size) for digest, path in zip(digests, layers, strict=True)
    ]
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _described(CONFIG, config),
            "layers": described,
        }
    )
    named = _described(MANIFEST, manifest) | {
        "annotations": {
            "io.containerd.image.name": reference,
            "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
        }
    }
    index = _json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]})
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    with tarfile.open(unfinished, "w", format=tarfile.GNU_FORMAT) as archive:
        _bytes(archive, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _bytes(archive, "index.json", index)
        for blob in (manifest, config):
            _bytes(archive, f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}", blob)
        for digest, path in dict(zip(digests, layers, strict=True)).items():
            _file(archive, f"blobs/sha256/{digest}", path)
    unfinished.replace(target)


def architecture(machine: str = "") -> str:
    """What OCI calls this machine's architecture; an unknown one keeps its name."""
    machine = machine or platform.machine()
    return ARCHITECTURES.get(machine, machine)


def _config(digests: Sequence[str], settings: Settings) -> dict[str, Any]:
    run: dict[str, Any] = {"Entrypoint": list(settings.entrypoint), "WorkingDir": settings.folder}
    if settings.environment:
        run["Env"] = list(settings.environment)
    if settings.user:
        run["User"] = settings.user
    if settings.labels:
        run["Labels"] = dict(settings.labels)
    return {
        "created": CREATED,
        "architecture": architecture(),
        "os": "linux",
        "config": run,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
    }


def _described(media_type: str, blob: bytes) -> dict[str, Any]:
    return _descriptor(media_type, hashlib.sha256(blob).hexdigest(), len(blob))


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    mode = path.lstat().st_mode
    entry = tarfile.TarInfo(name)
    if stat.S_ISLNK(mode):
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, str(path.readlink()), 0o777
        archive.addfile(entry)
    elif stat.S_ISDIR(mode):
        # The one folder that programs of every user write to.
        entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
        archive.addfile(entry)
    else:
        entry.mode = 0o755 if mode & 0o100 else 0o644
        _file(archive, name, path, entry)


def _file(archive: tarfile.TarFile, name: str, path: Path, entry: tarfile.TarInfo | None = None) -> None:
    entry = entry or tarfile.TarInfo(name)
    entry.size = path.stat().st_size
    with path.open("rb") as file:
        archive.addfile(entry, file)


def _bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
