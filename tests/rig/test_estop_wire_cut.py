"""The e-stop's wire is cut, then its chip disappears while the robot runs; the robot stays still until reset."""

from __future__ import annotations

from tests.rig.harness.rig import Rig

DRIVER = "/sys/bus/platform/drivers/gpio-sim"


def test_estop_wire_cut(rig: Rig) -> None:
    rig.run_policy()
    rig.press()  # the contact is closed while released, so a cut wire is an open contact
    rig.wait(lambda: rig.mode() == "ESTOP", what="mode ESTOP")
    assert not rig.drive_enable()
    rig.release()
    rig.reset()

    rig.run_policy()
    rig.sh(f"echo gpio-sim.0 > {DRIVER}/unbind")
    rig.wait(lambda: not rig.drive_enable(), what="drive-enable falls")
    rig.wait(lambda: rig.mode() == "ESTOP", what="mode ESTOP")
    rig.wait(lambda: not any(rig.moving()), what="the robot stands")
    assert "gone" in str(rig.refused("reset")), "a reset is refused while the line is gone"
    rig.sh(f"echo gpio-sim.0 > {DRIVER}/bind && udevadm settle && bash /opt/rig/guest/lines.sh")
    rig.release()
    rig.wait(lambda: rig.event("safety.line_back"), what="the line is had again")
    assert rig.mode() == "ESTOP"
    assert not rig.drive_enable(), "a line that is back gives no power back"
    rig.reset()
    rig.run_policy()
    rig.request("disarm")
