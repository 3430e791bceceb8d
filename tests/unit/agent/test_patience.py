from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.agent.patience import waits


def test_the_first_look_is_at_once_and_the_next_ones_soon() -> None:
    assert list(waits(1.0, 0.4)) == pytest.approx([0, 0.05, 0.1, 0.2, 0.4, 0.25])


@given(st.floats(0.01, 100), st.floats(0.05, 10))
def test_all_waits_together_are_the_total(total: float, longest: float) -> None:
    found = list(waits(total, longest))
    assert sum(found) == pytest.approx(total)
    assert max(found) <= longest
