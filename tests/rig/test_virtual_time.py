"""A stall is seen where it is configured, within one tick: the machine's time does not depend on ours."""

from __future__ import annotations

import pytest

from tests.rig.harness import faults
from tests.rig.harness.rig import Rig

pytestmark = pytest.mark.virtual
TICK_S = 1 / 25
STALL_S = 0.4
TRIES = 5


def test_virtual_time(rig: Rig) -> None:
    faults.faulty_daemon(rig)
    ages = []
    for _ in range(TRIES):
        rig.arm()
        faults.break_loop(rig, "block", 1.2)
        rig.wait(lambda: rig.mode() == "FAULT", what="mode FAULT")
        event = rig.event("safety.torque_off")
        assert event is not None
        ages.append(event["fields"]["beat_age_ms"] / 1e3)
        rig.reset()
    late = [age - STALL_S for age in ages]
    rig.note(f"stall of {STALL_S} s seen after {', '.join(f'{age * 1e3:.1f}' for age in ages)} ms")
    assert all(0 <= spare <= TICK_S for spare in late), f"s late: {late}"
    faults.healthy_daemon(rig)
