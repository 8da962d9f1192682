"""The CAN interface is taken down and up while the robot runs."""

from __future__ import annotations

import pytest

from tests.rig.harness.rig import Rig

pytestmark = pytest.mark.virtual


def test_can_down(rig: Rig) -> None:
    rig.run_policy()
    rig.sh("ip link set vcan0 down")
    rig.stopped_by_lost_bus("leg")
    rig.sh("ip link set vcan0 up")
    rig.reset()
    rig.run_policy()
    rig.request("disarm")
