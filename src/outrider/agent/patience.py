"""How long to wait between looks at something that is about to happen."""

from __future__ import annotations

from collections.abc import Iterator


def waits(total: float, longest: float) -> Iterator[float]:
    """Seconds to wait before each look: none at first, then doubling up to `longest`, `total` altogether.

    What happens soon is seen soon; what takes longer is asked for no more often than every `longest` seconds.
    """
    yield 0.0
    wait, left = longest / 8, total
    while left > 0:
        yield min(wait, left)
        left -= wait
        wait = min(wait * 2, longest)
