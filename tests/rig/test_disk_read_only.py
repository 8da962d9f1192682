"""The kernel makes the disk of the recordings read-only after an error: recording stops, the robot goes on."""

from __future__ import annotations

import pytest

from tests.rig.harness import faults
from tests.rig.harness.rig import Rig


@pytest.mark.prepared(how=faults.small_disk, undo=faults.usual_disk)
def test_disk_read_only(rig: Rig) -> None:
    rig.run_policy()
    rig.sh("mount -o remount,abort /var/lib/reflexd/rig")
    failed = rig.wait(lambda: rig.event("recording.failed"), 90.0, "the recording says that it stopped")
    rig.note(failed["message"])
    assert rig.mode() == "AUTO"
    assert all(rig.moving())
    rig.request("disarm")
    if rig.target.disposable:
        rig.allowed.add("processes")  # its disk is still read-only: the recorder ends and is started for ever
