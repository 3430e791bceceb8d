"""Compiles the data path: ``python -m tools.compile TARGET`` leaves a folder for ``outrider.kit.compiled``.

Runs in the virtual environment, where mypyc is, and needs a C compiler and Python's headers.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["OUTRIDER_PURE"] = "1"  # what is about to be compiled is not loaded from what was

from outrider.kit import compiled

MYPY = """[mypy]
explicit_package_bases = True
namespace_packages = True
ignore_missing_imports = True
follow_imports = silent
"""
BUILD = """import sys
from mypyc.build import mypycify
from setuptools import setup

setup(
    name="outrider-compiled",
    packages=[],
    ext_modules=mypycify([*sys.argv[3:], "--config-file", "mypy.ini"], opt_level="3", debug_level="0",
                         group_name="outrider"),
    script_args=sys.argv[1:3],
)
"""


def main(target: Path) -> None:
    """Compile into `target`, whole or not at all. Raises CalledProcessError, with the compilers' words printed."""
    with tempfile.TemporaryDirectory(prefix="compile-", dir=target.parent) as name:
        scratch = Path(name)
        shutil.copytree(compiled.SOURCES, scratch / "outrider", ignore=shutil.ignore_patterns("__pycache__"))
        (scratch / "mypy.ini").write_text(MYPY)
        (scratch / "build.py").write_text(BUILD)
        files = [f"{module.replace('.', '/')}.py" for module in compiled.MODULES]
        build(scratch, files)
        finished = scratch / "finished"
        for module in (*compiled.MODULES, compiled.SHARED):
            copy = finished / compiled.file_of(module)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(scratch / compiled.file_of(module), copy)
        (finished / compiled.KEY_FILE).write_text(compiled.key(compiled.SOURCES))
        shutil.rmtree(target, ignore_errors=True)
        finished.rename(target)


def build(scratch: Path, files: list[str]) -> None:
    """Run the compilers in `scratch`."""
    command = [sys.executable, "build.py", "build_ext", "--inplace", *files]
    done = subprocess.run(command, cwd=scratch, check=False, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout[-4000:], done.stderr[-4000:], sep="\n", file=sys.stderr)
        done.check_returncode()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
