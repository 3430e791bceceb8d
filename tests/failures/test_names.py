"""The front door's name cannot be found for a while."""

from __future__ import annotations

import time

from tests.failures.site import need_root
from tests.failures.strain import Strain
from tests.failures.times import Times


def test_a_tunnel_needs_no_name_and_a_new_one_waits_for_it(used: Strain, times: Times) -> None:
    need_root()
    site = used.site
    agent = site.pid("agent")
    site.resolves(False)
    try:
        began = time.monotonic()
        time.sleep(3)
        assert used.failures(began) == [], "nobody asks for a name while the tunnel is up"
        site.proxy.reset()
        time.sleep(8)
        assert used.failures(time.monotonic() - 2), "the name is gone, so is the tunnel"
        last = site.log("agent").splitlines()[-1]
        assert "no tunnel to https://outrider.test" in last
    finally:
        site.resolves(True)
    healed = time.monotonic()
    took = used.must_recover(healed, 31)
    used.must_be_whole()
    assert site.pid("agent") == agent
    times.add(
        "name of the server not found for 8 s",
        times=site.times,
        recovered=took,
        remark="counted from the repair",
    )
