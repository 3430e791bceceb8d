"""The data path in compiled form: the very same modules, translated to C by mypyc when the product is set up.

What was compiled is used only while it fits: the key is a digest over the modules' sources and the interpreter, so
whoever edits one of them runs what stands in the file. Without compiled modules everything works, for more CPU.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from pathlib import Path
from types import ModuleType

MODULES = (
    "outrider.gateway.answers",
    "outrider.gateway.audit",
    "outrider.gateway.audit_channel",
    "outrider.gateway.audit_events",
    "outrider.gateway.audit_record",
    "outrider.gateway.audit_uri",
    "outrider.gateway.connection",
    "outrider.gateway.dispatch",
    "outrider.gateway.entrance",
    "outrider.gateway.exchange",
    "outrider.gateway.forwarding",
    "outrider.gateway.heads",
    "outrider.gateway.metrics",
    "outrider.gateway.peer_door",
    "outrider.gateway.routing",
    "outrider.gateway.tunnels",
    "outrider.gateway.verdicts",
    "outrider.kit.http1",
    "outrider.kit.plain",
    "outrider.tunnel.agent",
    "outrider.tunnel.flow",
    "outrider.tunnel.frames",
    "outrider.tunnel.mux",
    "outrider.tunnel.pool",
    "outrider.tunnel.server",
    "outrider.tunnel.upstream",
)
"""What a request passes through. They are compiled together: calls between them are calls of C functions."""

PACKAGE = "outrider_compiled"
"""The folder beside the installed packages that holds the compiled modules, and the key that they fit."""
KEY_FILE = "key"
SHARED = "outrider__mypyc"
"""The module that holds all the code; the others only point into it."""
PURE = "OUTRIDER_PURE"
"""The variable that asks for the modules as they stand in their files."""


SOURCES = Path(__file__).parents[1]
"""The folder of this package."""


class CompiledFinder(MetaPathFinder):
    """Finds the compiled modules in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The compiled module of this name, if it is one of them."""
        if fullname not in MODULES and fullname != SHARED:
            return None
        return importlib.util.spec_from_file_location(fullname, self._folder / file_of(fullname))


def use(environ: Mapping[str, str] = os.environ) -> bool:
    """Let the compiled modules be imported from now on, if there are any that fit; whether there are."""
    if environ.get(PURE):
        return False
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        return False
    folder = Path(next(iter(found.submodule_search_locations)))
    if key_of(folder) != key(SOURCES):
        return False
    sys.meta_path.insert(0, CompiledFinder(folder))
    return True


def file_of(module: str) -> str:
    """The file that a module is compiled into, below the folder of all of them."""
    return module.replace(".", "/") + EXTENSION_SUFFIXES[0]


def key(package: Path) -> str:
    """What compiled modules must fit: the sources below `package`, this list, and the interpreter."""
    digest = hashlib.sha256(f"{sys.version}\0{EXTENSION_SUFFIXES[0]}".encode())
    for module in MODULES:
        source = package.joinpath(*module.split(".")[1:]).with_suffix(".py").read_bytes()
        digest.update(f"\0{module}\0{len(source)}\0".encode() + source)
    return digest.hexdigest()[:32]


def key_of(folder: Path) -> str:
    """What the compiled modules in a folder fit, "" when there are none."""
    try:
        return (folder / KEY_FILE).read_text()
    except OSError:
        return ""
