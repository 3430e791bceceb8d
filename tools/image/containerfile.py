"""Reads from a Containerfile what its last stage says about running the image.

The images that are built here take it from there: what is released and what is tested then agree.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from tools.image.oci import Settings


class ContainerfileError(Exception):
    """The file says something that this reader does not know, or too little."""


def read(path: Path) -> Settings:
    """The settings of the last stage. Raises ``ContainerfileError``."""
    environment: dict[str, str] = {}
    labels: dict[str, str] = {}
    single: dict[str, str] = {}
    for word, rest in last_stage(path.read_text()):
        if word in {"ENV", "LABEL"}:
            (environment if word == "ENV" else labels).update(_pairs(rest))
        elif word in {"USER", "WORKDIR", "ENTRYPOINT"}:
            single[word] = rest
        elif word not in {"FROM", "RUN", "COPY"}:
            raise ContainerfileError(f"{path}: {word} is not taken over by tools/image; teach it")
    try:
        entrypoint = json.loads(single["ENTRYPOINT"])
    except (KeyError, ValueError) as error:
        raise ContainerfileError(f"{path}: the last stage needs an ENTRYPOINT in JSON form") from error
    return Settings(
        entrypoint=tuple(entrypoint),
        environment=tuple(f"{name}={value}" for name, value in environment.items()),
        user=single.get("USER", ""),
        folder=single.get("WORKDIR", "/"),
        labels=labels,
    )


def last_stage(text: str) -> list[tuple[str, str]]:
    """The instructions from the last FROM on, as (word, rest); continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found: list[tuple[str, str]] = []
    for line in joined.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word.upper() == "FROM":
            found = []
        found.append((word.upper(), rest.strip()))
    return found


def _pairs(text: str) -> dict[str, str]:
    words = [word.partition("=") for word in shlex.split(text)]
    return {name: value for name, _, value in words}
