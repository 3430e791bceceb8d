"""Entry point: finds a Python that is new enough and has pip, then hands over.

This file must stay readable for any Python 3, or an old one could not say what it lacks.
"""

import os
import shutil
import sys

OLDEST = (3, 11)
TOO_OLD = """make setup: Python 3.11 or newer is needed, and this is %s.
Install one (Debian 12: apt-get install python3 python3-pip) and run `make setup` again;
`make setup PYTHON=/path/to/python3` chooses one."""
NO_PIP = """make setup: %s has no pip, which gets the first tools from PyPI.
Install it (Debian 12: apt-get install python3-pip) and run `make setup` again."""


def newer_python():
    # type: () -> str | None
    """The newest Python on the PATH that is new enough."""
    found = (shutil.which("python3." + str(minor)) for minor in range(20, OLDEST[1] - 1, -1))
    return next((path for path in found if path), None)


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
    if sys.version_info < OLDEST:
        other = newer_python()
        if other is None:
            sys.exit(TOO_OLD % sys.version.split()[0])
        replace_by(other)
    if not has_pip():
        # An activated virtual environment often has none; the Python that it was made from may.
        base = getattr(sys, "_base_executable", sys.executable)
        if sys.prefix == sys.base_prefix or base == sys.executable:
            sys.exit(NO_PIP % sys.executable)
        replace_by(base)
    from tools.setup.program import main

    sys.exit(main())
