"""The order of set-up, and its exit status."""

from __future__ import annotations

import sys

from tools.setup import debian, environment, kube, stamp
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
        with only_one(places.tools, progress):
            # Another set-up may have done it while this one waited.
            done = stamp.read(places) or _provide(places, progress)
    for line in done.lacking:
        progress.say(f"Not on this machine: {line}")


def _provide(places: Places, progress: Progress) -> stamp.Stamp:
    inputs = stamp.current_inputs(places)
    environment.prepare(places, progress)
    binary = kube.provide(places, progress)
    lacking = debian.provide(places, progress)
    progress.say(f"Set up: .venv, {binary}")
    optional = [places.old_kubectl] if places.old_kubectl.exists() else []
    outputs = [
        places.python,
        places.venv / "bin" / "outrider",
        places.venv / "bin" / "kubectl",
        binary,
        *optional,
    ]
    done = stamp.Stamp(inputs, [str(path) for path in outputs], lacking)
    stamp.write(places, done)
    return done
