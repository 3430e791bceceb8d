"""Where set-up reads and writes."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

KUBE_SOURCES = "kube"
BINARY_MODULE = "src/outrider/kube/embedded/binary.py"


@dataclass(frozen=True)
class Places:
    """The folders of one checkout and the cache that checkouts share."""

    root: Path
    environ: Mapping[str, str]

    @property
    def tools(self) -> Path:
        """Programs that only this checkout uses: uv, Go, the stamp."""
        return self.root / ".tools"

    @property
    def venv(self) -> Path:
        """The virtual environment."""
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        """The virtual environment's interpreter."""
        return self.venv / "bin" / "python"

    @property
    def kube_sources(self) -> Path:
        """The Go module of the embedded Kubernetes."""
        return self.root / KUBE_SOURCES

    @property
    def kube_binary(self) -> Path:
        """Where the package will look for the embedded Kubernetes: the package itself says."""
        found: Path = self._binary_module().cached_binary(self.kube_sources, self.environ)
        return found

    @property
    def cache(self) -> Path:
        """The folder that all checkouts of this user share."""
        found: Path = self._binary_module().cache_root(self.environ)
        return found.parent

    @property
    def old_kubectl(self) -> Path:
        """A kubectl that speaks SPDY only, for the tests of old clients."""
        return self.cache / "kubectl-old" / "kubectl"

    def _binary_module(self) -> ModuleType:
        # Loaded from its file: importing the package would need what is not installed yet.
        spec = importlib.util.spec_from_file_location("outrider_kube_binary", self.root / BINARY_MODULE)
        if spec is None or spec.loader is None:
            raise FileNotFoundError(BINARY_MODULE)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


def checkout(environ: Mapping[str, str] = os.environ) -> Places:
    """The places of the checkout that this file stands in."""
    return Places(Path(__file__).resolve().parents[2], environ)
