"""Everything that set-up provides, in its order."""

from __future__ import annotations

from tools.setup import compiled, debian, environment, kube, stamp
from tools.setup.places import Places
from tools.setup.progress import Progress


def provide(places: Places, progress: Progress) -> stamp.Stamp:
    """Provide what is lacking and leave a stamp that says so. Raises ``SetupError``."""
    inputs = stamp.current_inputs(places)
    environment.prepare(places, progress)
    binary = kube.provide(places, progress)
    lacking = [*debian.provide(places, progress), *compiled.provide(places, progress)]
    commands = [places.venv / "bin" / name for name in ("python", "outrider", "kubectl")]
    optional = [places.old_kubectl] if places.old_kubectl.exists() else []
    outputs = [str(path) for path in (*commands, binary, *optional)]
    done = stamp.Stamp(inputs, outputs, lacking)
    stamp.write(places, done)
    progress.say(f"Set up: .venv, {binary}")
    return done
