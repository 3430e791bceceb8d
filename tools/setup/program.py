"""What ``make setup`` runs: the stamp first, then only what it does not vouch for."""

from __future__ import annotations

import sys

from tools.setup import stamp
from tools.setup.lock import only_one
from tools.setup.places import Places, checkout
from tools.setup.progress import Progress, SetupError


def main() -> int:
    """Set the checkout up; 0 when everything needed is there, 1 with one clear message when it is not."""
    try:
        set_up(checkout(), Progress(lambda line: print(line, flush=True)))
    except SetupError as error:
        print(f"make setup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("make setup: interrupted; run it again to go on", file=sys.stderr)
        return 130
    return 0


def set_up(places: Places, progress: Progress) -> None:
    """Provide what is lacking and say what stays lacking. Raises ``SetupError``."""
    done = stamp.read(places)
    if done is None:
        # Costs more to import than a run with nothing to do takes.
        from tools.setup.steps import provide

        with only_one(places.tools, progress):
            # Another set-up may have done it while this one waited.
            done = stamp.read(places) or provide(places, progress)
    for line in done.lacking:
        progress.say(f"Not on this machine: {line}")
