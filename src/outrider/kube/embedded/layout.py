"""Where an embedded control plane keeps things in its data folder, and who may hold that folder."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path


class DataFolderInUseError(RuntimeError):
    """Another process runs a control plane on this folder."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths below one data folder."""

    root: Path

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.root / "pki"

    @property
    def etcd(self) -> Path:
        """etcd's own folder: the state of the cluster."""
        return self.root / "etcd"

    @property
    def logs(self) -> Path:
        """One log for each child process."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """The process ids of the children."""
        return self.root / "run"

    @property
    def ports(self) -> Path:
        """The ports chosen for this folder."""
        return self.root / "ports.json"

    @property
    def controller_manager_kubeconfig(self) -> Path:
        """How the controller manager reaches the API server; it names files and holds no secret itself."""
        return self.root / "controller-manager.kubeconfig"

    @property
    def admission(self) -> Path:
        """The API server's admission configuration."""
        return self.root / "admission.json"

    @property
    def webhook_kubeconfig(self) -> Path:
        """How the API server proves itself to admission webhooks; it names files and holds no secret itself."""
        return self.root / "webhooks.kubeconfig"

    def bundle(self, name: str) -> Path:
        """Certificate and key of one credential."""
        return self.pki / f"{name}.pem"

    def certificate(self, name: str) -> Path:
        """An authority's certificate alone, for those that only verify."""
        return self.pki / f"{name}.crt"

    def create(self) -> None:
        """Makes the folders, closed to everybody else (0700), also where they were open before."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (self.root, self.pki, self.etcd, self.logs, self.run):
            folder.mkdir(exist_ok=True, mode=0o700)
            folder.chmod(0o700)


class FolderLock:
    """Holds a data folder for one process; the kernel lets go of it when that process dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Raises ``DataFolderInUseError`` when another process (or another object here) holds it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise DataFolderInUseError(
                f"{self._path.parent} is in use by another Outrider (process {holder}); "
                "stop that one, or choose another data folder"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Lets go; without effect when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
