"""Runs other programs: quiet when they succeed, their last lines when they fail."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.setup.progress import SetupError

SHOWN_LINES = 25


def run(
    command: Sequence[object],
    *,
    cwd: Path,
    environ: Mapping[str, str],
    purpose: str,
    timeout: float = 3600,
) -> str:
    """Run ``command`` and return what it printed.

    Raises ``SetupError`` naming ``purpose`` and the last lines of the output when it fails, is not there, or
    takes longer than ``timeout`` seconds.
    """
    words = [str(word) for word in command]
    try:
        finished = subprocess.run(
            words,
            cwd=cwd,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except OSError as error:
        raise SetupError(f"{purpose}: {words[0]} could not be started: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"{purpose}: {words[0]} took longer than {timeout:.0f} s and was stopped") from error
    if finished.returncode != 0:
        status = finished.returncode
        raise SetupError(f"{purpose}: {words[0]} ended with status {status}:\n{tail(finished.stdout)}")
    return finished.stdout


def tail(output: str) -> str:
    """The last lines, indented."""
    return "\n".join(f"    {line}" for line in output.strip().splitlines()[-SHOWN_LINES:])
