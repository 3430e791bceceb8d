"""Entry point: finds a Python that is new enough and has pip, then hands over.

This file must stay readable for any Python 3, or an old one could not say what it lacks.
"""

import os
import shutil
import subprocess
import sys

OLDEST = (3, 11)
TOO_OLD = """make setup: Python 3.11 or newer is needed, and this is %s.
Install one (Debian 12: apt-get install python3 python3-pip) and run `make setup` again;
`make setup PYTHON=/path/to/python3` chooses one."""
NO_PIP = """make setup: %s has no pip, which gets the first tools from PyPI.
Install it (Debian 12: apt-get install python3-pip) and run `make setup` again."""


def candidates():
    # type: () -> list[str]
    """The Python that this one's virtual environment was made from, and those on the PATH, newest first."""
    names = ["python3"] + ["python3." + str(minor) for minor in range(20, OLDEST[1] - 1, -1)]
    found = [getattr(sys, "_base_executable", None)] + [shutil.which(name) for name in names]
    return [path for path in found if path and path != sys.executable]


def suitable(python):
    # type: (str) -> bool
    """Whether a Python is new enough and has pip."""
    check = "import pip, sys; sys.exit(sys.version_info < " + repr(OLDEST) + ")"
    return subprocess.call([python, "-c", check], stderr=subprocess.DEVNULL) == 0


def has_pip():
    # type: () -> bool
    """Whether this Python can run ``python -m pip``."""
    from importlib.util import find_spec

    return find_spec("pip") is not None


def replace_by(python):
    # type: (str) -> None
    """Run the same with another Python, in this process."""
    os.execv(python, [python, "-m", "tools.setup"])  # noqa: S606


if __name__ == "__main__":
    if sys.version_info < OLDEST or not has_pip():
        other = next((path for path in candidates() if suitable(path)), None)
        if other is not None:
            replace_by(other)
        sys.exit(TOO_OLD % sys.version.split()[0] if sys.version_info < OLDEST else NO_PIP % sys.executable)
    from tools.setup.program import main

    sys.exit(main())
