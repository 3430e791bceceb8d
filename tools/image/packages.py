"""The agent and the packages that it imports, as files of an image: ``/agent``, a virtual environment."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from outrider.kit import compiled
from tools.image.python import VERSION, compile_files, stage_libraries

HOME = "agent"
SITE = f"{HOME}/lib/{VERSION}/site-packages"
SCRIPT = f"""\
#!/{HOME}/bin/python
import sys

from outrider.cli.main import main

sys.exit(main())
"""


class WrongPackagesError(Exception):
    """The virtual environment does not hold what the image's lock names."""


def locked(lock: Path) -> dict[str, str]:
    """Package and version of every line of a lock."""
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", lock.read_text(), re.MULTILINE))


def distributions(lock: Path) -> list[Distribution]:
    """The locked packages as installed here. Raises ``WrongPackagesError``."""
    found, wrong = [], []
    for name, version in locked(lock).items():
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            wrong.append(f"{name} {version} (not installed)")
            continue
        if installed.version != version:
            wrong.append(f"{name} {version} (installed: {installed.version})")
        found.append(installed)
    if wrong:
        raise WrongPackagesError(f"{lock.name} asks for {', '.join(wrong)}; run `make setup`")
    return found


def fingerprint(lock: Path) -> str:
    """Changes when a package does: over the hashes that each lists of its own files."""
    digest = hashlib.sha256()
    for package in distributions(lock):
        digest.update((package.read_text("RECORD") or "").encode())
    return digest.hexdigest()


def stage_packages(root: Path, lock: Path) -> None:
    """Put the locked packages and an empty environment around them into ``root``."""
    site = root / SITE
    site.mkdir(parents=True)
    for package in distributions(lock):
        for file in package.files or ():
            # Scripts stand outside; nobody runs them in a container.
            if ".." not in file.parts and file.suffix != ".pyc" and file.name not in {"RECORD", "INSTALLER"}:
                target = site / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file.locate()), target)
    installed = Path(sysconfig.get_path("platlib"))
    needing = [installed / path.relative_to(site) for path in sorted(site.rglob("*.so"))]
    stage_libraries(root, needing)
    programs = root / HOME / "bin"
    programs.mkdir()
    (programs / "python").symlink_to(f"/usr/local/bin/{VERSION}")
    (root / HOME / "pyvenv.cfg").write_text("home = /usr/local/bin\ninclude-system-site-packages = false\n")
    compile_files(root, SITE)


def compiled_key() -> str:
    """What the compiled data path that `make setup` provided fits; "" when there is none for these sources."""
    fits = compiled.key_of(_compiled()) == compiled.key(compiled.SOURCES)
    return compiled.key_of(_compiled()) if fits else ""


def stage_agent(root: Path, project: Path) -> None:
    """Put the package itself, built as it is released, its command and its licence into ``root``."""
    site = root / SITE
    site.mkdir(parents=True)
    wheels = root / "wheels"
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", wheels],
        cwd=project,
        check=True,
        capture_output=True,
        timeout=300,
    )
    with zipfile.ZipFile(next(wheels.glob("outrider-*.whl"))) as wheel:
        wheel.extractall(site)
    shutil.rmtree(wheels)
    if compiled_key():
        shutil.copytree(_compiled(), site / compiled.PACKAGE)
    command = root / HOME / "bin" / "outrider"
    command.parent.mkdir()
    command.write_text(SCRIPT)
    command.chmod(0o755)
    shutil.copyfile(project / "LICENSE", root / HOME / "LICENSE")
    compile_files(root, SITE)


def _compiled() -> Path:
    return Path(sysconfig.get_path("platlib")) / compiled.PACKAGE
