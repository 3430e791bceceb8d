"""The Python that runs this, as files of an image: interpreter, standard library, shared libraries."""

from __future__ import annotations

import hashlib
import re
import shutil
import ssl
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

# Of no use to a program without a terminal, or for building other things.
LEFT_OUT = (
    *("__pycache__", "site-packages", "dist-packages", "config-*", "ensurepip", "test", "tests", "lib2to3"),
    *("idlelib", "tkinter", "turtledemo", "turtle.py", "_tkinter.*", "_test*.so", "xx*.so", "_xx*.so"),
    *("_ctypes_test*.so", "pydoc_data"),
)
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_LIBRARY = re.compile(r"(?:\s=>\s)?(/\S+)\s\(0x")
# Loaded by name at run time, so that no file says that it is needed.
_LOADED_LATER = ("libgcc_s.so.1",)


class NoPythonError(Exception):
    """This Python cannot be put into an image; the message says why."""


def interpreter() -> Path:
    """The real executable behind a virtual environment."""
    return Path(getattr(sys, "_base_executable", sys.executable)).resolve()


def standard_library() -> Path:
    """The folder of the standard library."""
    return Path(sysconfig.get_path("stdlib"))


def fingerprint() -> str:
    """Changes when the interpreter does."""
    digest = hashlib.sha256(f"{sys.version}\0{LEFT_OUT}".encode())
    for path in (interpreter(), *libraries([interpreter()]).values()):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def stage(root: Path) -> None:
    """Put Python into ``root`` as ``/usr/local/bin/python3.X`` with what it needs. Raises ``NoPythonError``."""
    programs = root / "usr" / "local" / "bin"
    programs.mkdir(parents=True)
    shutil.copy(interpreter(), programs / VERSION)
    for name in ("python", "python3"):
        (programs / name).symlink_to(VERSION)
    library = root / "usr" / "local" / "lib" / VERSION
    shutil.copytree(standard_library(), library, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    if not (library / "lib-dynload").exists():  # some Pythons keep what depends on the machine elsewhere
        shutil.copytree(_extensions(), library / "lib-dynload", ignore=shutil.ignore_patterns(*LEFT_OUT))
    kept = {path.name for path in library.glob("lib-dynload/*.so")}
    loaded = [path for path in _extensions().glob("*.so") if path.name in kept]
    stage_libraries(root, [interpreter(), *loaded])
    _stage_system(root)
    compile_files(root, "usr/local/lib")


def stage_libraries(root: Path, needing: Iterable[Path]) -> None:
    """Copy the shared libraries that ``needing`` load, and the loader to the path where they expect it."""
    for name, path in libraries(needing).items():
        loader = name.startswith("/")
        target = root / name.lstrip("/") if loader else root / "usr" / "lib" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
        target.chmod(0o755 if loader else 0o644)


def libraries(needing: Iterable[Path]) -> dict[str, Path]:
    """Shared libraries by name, the loader by its path; those that a package brings itself are not listed."""
    found: dict[str, Path] = {}
    for path in needing:
        answer = subprocess.run(
            ["ldd", path], capture_output=True, text=True, check=False, timeout=60, env={"LC_ALL": "C"}
        )
        if answer.returncode:
            raise NoPythonError(f"ldd {path} failed, so its libraries are unknown: {answer.stderr.strip()}")
        found |= dict(_parse(answer.stdout))
    folders = {library.parent for library in found.values()}
    for name in _LOADED_LATER:
        for folder in sorted(folders):
            if (folder / name).exists():
                found.setdefault(name, folder / name)
    brought = sysconfig.get_path("platlib")
    return {name: path for name, path in sorted(found.items()) if not path.is_relative_to(brought)}


def compile_files(root: Path, below: str) -> None:
    """Compile every module below a folder, the same way each time, for its place in the image."""
    # Files are checked by no date, which an image does not have, but are what they were built from.
    options = ["--invalidation-mode", "unchecked-hash", "-s", str(root), "-p", "/"]
    finished = subprocess.run(
        [interpreter(), "-I", "-m", "compileall", "-qq", *options, root / below],
        env={"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if finished.returncode not in {
        0,
        1,
    }:  # 1: a file for another Python, such as a template, was left as it is
        raise NoPythonError(f"compileall failed below {below}: {finished.stderr.strip()}")


def _extensions() -> Path:
    return Path(sysconfig.get_config_var("DESTSHARED") or standard_library() / "lib-dynload")


def _parse(output: str) -> Iterator[tuple[str, Path]]:
    for line in output.splitlines():
        match = _LIBRARY.search(line)
        if match:
            path = Path(match[1])
            named = "=>" in line
            yield (line.split()[0] if named else str(path)), path.resolve()


def _stage_system(root: Path) -> None:
    (root / "tmp").mkdir()
    etc = root / "etc"
    etc.mkdir()
    (etc / "passwd").write_text(
        "root:x:0:0:root:/:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"
    )
    (etc / "group").write_text("root:x:0:\nnogroup:x:65534:\n")
    (etc / "nsswitch.conf").write_text("hosts: files dns\n")
    if CERTIFICATES.is_file():
        expected = root / ssl.get_default_verify_paths().openssl_cafile.lstrip("/")
        expected.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CERTIFICATES, expected)
