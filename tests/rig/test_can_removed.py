"""The CAN interface disappears while the robot runs, and another one of its name comes."""

from __future__ import annotations

import pytest

from tests.rig.harness.rig import Rig

pytestmark = pytest.mark.virtual


def test_can_removed(rig: Rig) -> None:
    rig.run_policy()
    rig.sh("ip link delete vcan0")
    rig.wait(lambda: rig.mode() == "FAULT", what="mode FAULT")
    rig.wait(lambda: not any(rig.moving()), what="the robot stands")
    rig.wait(lambda: not rig.drive_enable(), what="drive-enable falls")
    rig.refused("arm")
    rig.sh("ip link add vcan0 type vcan && ip link set vcan0 up")
    rig.reset()
    rig.run_policy()
    rig.request("disarm")
