"""The CAN interface is taken down and up while the robot runs."""

from __future__ import annotations

import pytest

from tests.rig.harness.rig import Rig

pytestmark = pytest.mark.virtual


def test_can_down(rig: Rig) -> None:
    rig.run_policy()
    rig.sh("ip link set vcan0 down")
    rig.wait(lambda: rig.mode() == "FAULT", what="mode FAULT")
    lost = rig.event("joint.lost")
    assert lost
    assert lost["fields"]["bus"] == "leg", lost
    rig.wait(lambda: not any(rig.moving()), what="all joints stand, those on the other bus too")
    rig.wait(lambda: not rig.drive_enable(), what="drive-enable falls")
    rig.sh("ip link set vcan0 up")
    rig.reset()
    rig.run_policy()
    rig.request("disarm")
