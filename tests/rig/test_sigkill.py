"""The daemon is killed: drive-enable falls, systemd starts another, disarmed."""

from __future__ import annotations

from tests.rig.harness.rig import Rig


def test_sigkill(rig: Rig) -> None:
    rig.run_policy()
    pid = rig.main_pid()
    rig.sh(f"kill -KILL {pid}")
    rig.wait(lambda: not rig.drive_enable(), what="drive-enable falls with its holder")
    rig.wait(lambda: not any(rig.moving()), what="the robot stands")
    rig.replaced(pid)
    rig.safe_after_start()
    rig.reset()  # the motors remember that nobody talked to them
    rig.run_policy()
    rig.request("disarm")
