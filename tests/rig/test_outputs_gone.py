"""The chip of drive-enable and heartbeat disappears while the robot runs: torque off through the buses."""

from __future__ import annotations

from tests.rig.harness.rig import Rig

DRIVER = "/sys/bus/platform/drivers/gpio-sim"


def test_outputs_gone(rig: Rig) -> None:
    rig.run_policy()
    rig.sh(f"echo gpio-sim.1 > {DRIVER}/unbind")
    rig.wait(lambda: rig.mode() == "FAULT", what="mode FAULT")
    rig.wait(lambda: not any(rig.moving()), what="the robot stands")
    rig.refused("reset")
    rig.sh(f"echo gpio-sim.1 > {DRIVER}/bind && udevadm settle && bash /opt/rig/guest/lines.sh")
    rig.wait(lambda: rig.event("safety.line_back"), what="the lines are had again")
    rig.reset()
    assert not rig.drive_enable(), "a reset alone gave power back"
    rig.run_policy()
    rig.request("disarm")
