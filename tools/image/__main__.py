"""``python -m tools.image [agent|shell|pause]…``: builds images and prints the paths of their tar files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.image.build import Builder
from tools.image.containerfile import ContainerfileError
from tools.image.packages import WrongPackagesError
from tools.image.python import NoPythonError
from tools.image.shell import NoBusyboxError
from tools.setup.places import checkout

IMAGES = ("agent", "shell", "pause")


def main(arguments: Sequence[str]) -> int:
    """Build what is named, or all; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.image",
        description="Build images as OCI layouts in tar files; `ctr --namespace k8s.io images import FILE` loads one.",
    )
    parser.add_argument("image", nargs="*", help=f"of {', '.join(IMAGES)}; all of them when none is named")
    parser.add_argument("--cache", type=Path, help="where layers and images are kept")
    chosen = parser.parse_args(arguments)
    unknown = sorted(set(chosen.image) - set(IMAGES))
    if unknown:
        parser.error(f"no image {', '.join(unknown)}; there are: {', '.join(IMAGES)}")
    places = checkout()
    builder = Builder(places.root, chosen.cache or places.cache / "images")
    try:
        for name in chosen.image or IMAGES:
            print(getattr(builder, name)())
    except (ContainerfileError, NoBusyboxError, NoPythonError, WrongPackagesError) as error:
        print(f"python -m tools.image: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
