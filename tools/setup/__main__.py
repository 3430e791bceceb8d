"""Entry point: finds a Python that is new enough, then hands over.

This file must stay readable for any Python 3, or an old one could not say what it lacks.
"""

import os
import shutil
import sys

OLDEST = (3, 11)


def hand_over_to_newer_python():
    # type: () -> None
    """Replace this process by the newest Python on the PATH that is new enough, or exit with advice."""
    for minor in range(20, OLDEST[1] - 1, -1):
        found = shutil.which("python3." + str(minor))
        if found:
            os.execv(found, [found, "-m", "tools.setup"] + sys.argv[1:])  # noqa: RUF005, S606
    sys.exit(
        "Python 3.11 or newer is needed, and this is %s. Install one (Debian 12: apt-get install python3) "  # noqa: UP031
        "and run `make setup` again; `make setup PYTHON=/path/to/python3` chooses one."
        % sys.version.split()[0]
    )


if __name__ == "__main__":
    if sys.version_info < OLDEST:
        hand_over_to_newer_python()
    from tools.setup.program import main

    sys.exit(main())
