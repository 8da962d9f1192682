"""The disk of the recordings is full: recording stops and says so, the robot goes on."""

from __future__ import annotations

import pytest

from tests.rig.harness import faults
from tests.rig.harness.rig import Rig


@pytest.mark.prepared(how=faults.small_disk, undo=faults.usual_disk)
def test_disk_full(rig: Rig) -> None:
    rig.run_policy()
    rig.run("dd if=/dev/zero of=/var/lib/reflexd/rig/filler bs=64k; sync", timeout_s=120.0)
    failed = rig.wait(lambda: rig.event("recording.failed"), 90.0, "the recording says that it stopped")
    assert "No space left" in failed["message"], failed
    assert rig.mode() == "AUTO"
    assert all(rig.moving())
    rig.request("disarm")
