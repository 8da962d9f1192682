"""Every write to the disk of the recordings takes half a second longer: the robot does not notice."""

from __future__ import annotations

import pytest

from tests.rig.harness import faults
from tests.rig.harness.rig import Rig


@pytest.mark.prepared(how=faults.small_disk, undo=faults.usual_disk)
def test_disk_slow(rig: Rig) -> None:
    faults.slow_disk(rig, delay_ms=500)
    rig.run_policy()
    before = rig.status()
    rig.sh("sync", 120.0)
    assert all(rig.moving())
    after = rig.status()
    assert after["mode"] == "AUTO"
    assert after["recording"]["dropped"] == before["recording"]["dropped"], "the trace waits for the disk"
    rig.request("disarm")
