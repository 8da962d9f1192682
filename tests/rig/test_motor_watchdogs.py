"""The daemon freezes, drive-enable stays, nobody restarts it yet: the motors on both buses stop by themselves."""

from __future__ import annotations

import pytest

from tests.rig.harness import faults
from tests.rig.harness.rig import Rig


@pytest.mark.prepared(how=faults.patient_systemd, undo=faults.healthy_daemon)
def test_motor_watchdogs(rig: Rig) -> None:
    rig.run_policy()
    pid = rig.main_pid()
    rig.sh(f"kill -STOP {pid}")
    rig.wait(lambda: not any(rig.moving()), what="every joint stands")
    assert rig.drive_enable(), "the line is as the frozen daemon has left it"
    assert rig.motors("state")["power"], "the motors have power"
    leg = rig.torques()[2:]
    assert leg == [0.0, 0.0], f"MIT-mode motors switch off by themselves: {leg} Nm"
    rig.sh(f"kill -CONT {pid}")
    rig.wait(lambda: not rig.drive_enable(), what="the daemon goes on, and cuts power for its own stall")
    rig.wait(lambda: rig.mode() == "FAULT", what="mode FAULT")
    rig.reset()
    rig.run_policy()
    rig.request("disarm")
