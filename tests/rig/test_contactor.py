"""The contactor behind drive-enable is stuck, then welded: its feedback tells, and the buses take the torque."""

from __future__ import annotations

import pytest

from tests.rig.harness.rig import Rig

pytestmark = pytest.mark.virtual


def test_contactor(rig: Rig) -> None:
    rig.policy_ready()
    rig.board("contactor", kind="stuck")
    assert "drive-enable fell" in str(rig.refused("arm"))
    assert "it is stuck" in str(rig.status()["stop"]["reasons"])
    assert not rig.drive_enable()
    rig.board("contactor", kind="good")
    rig.reset()

    rig.run_policy()
    rig.board("contactor", kind="welded")
    rig.press()
    rig.wait(lambda: not rig.drive_enable(), what="drive-enable falls")
    rig.wait(lambda: "it is welded" in str(rig.status()["stop"]["reasons"]), what="the contactor is found welded")
    assert rig.motors("state")["power"], "the motors have power all the time"
    rig.wait(lambda: rig.torques() == [0.0] * 4, what="the buses have taken the torque")
    rig.release()
    assert "it is welded" in str(rig.refused("reset"))
    rig.board("contactor", kind="good")
    rig.reset()
    rig.run_policy()
    rig.request("disarm")
