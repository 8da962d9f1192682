"""The e-stop at 50 random moments: drive-enable falls every time, and stays down until reset."""

from __future__ import annotations

import random

import pytest

from tests.rig.harness.rig import Rig

PRESSES = 50


@pytest.mark.long(1)
def test_estop_presses(rig: Rig) -> None:
    took: list[float] = []
    rig.policy_ready()
    for press in range(PRESSES):
        rig.request("arm")
        if press % 2:
            rig.request("start")
        found = rig.board("react", within=random.uniform(0.0, 0.5))
        assert found["before"] == 1, f"press {press}: drive-enable was not active before"
        assert found["us"] is not None, f"press {press}: drive-enable did not fall"
        took.append(found["us"] / 1e3)
        rig.wait(lambda: rig.mode() == "ESTOP", what="mode ESTOP")  # the next tick says so
        assert not rig.drive_enable()
        rig.release()
        assert not rig.drive_enable(), f"press {press}: a release alone gave power back"
        rig.reset()
        assert not rig.drive_enable(), f"press {press}: a reset alone gave power back"
    took.sort()
    rig.note(
        f"{PRESSES} of {PRESSES} presses; press to drive-enable low: median {took[len(took) // 2]:.2f} ms, "
        f"90 % {took[len(took) * 9 // 10]:.2f} ms, most {took[-1]:.2f} ms"
    )
