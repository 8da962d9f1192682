"""The serial adapter is pulled while the robot runs, and comes back under another number: a reset is enough."""

from __future__ import annotations

import pytest

from tests.rig.harness.rig import Rig

pytestmark = pytest.mark.virtual


def test_adapter_unplugged(rig: Rig) -> None:
    rig.run_policy()
    before = rig.sh("readlink /run/reflexd/rig/adapter")
    rig.motors("plug", bus="arm", plugged=False)
    rig.wait(lambda: rig.mode() == "FAULT", what="mode FAULT")
    lost = rig.event("joint.lost")
    assert lost
    assert lost["fields"]["bus"] == "arm", lost
    rig.wait(lambda: not any(rig.moving()), what="the robot stands")
    rig.wait(lambda: not rig.drive_enable(), what="drive-enable falls")
    assert "is gone" in str(rig.refused("reset"))
    rig.motors("plug", bus="arm", plugged=True)
    assert rig.sh("readlink /run/reflexd/rig/adapter") != before
    rig.reset()
    assert not rig.drive_enable(), "a reset alone gave power back"
    rig.run_policy()
    rig.request("disarm")
