"""One channel of the e-stop opens alone: drive-enable falls, and the fault of the other one is latched."""

from __future__ import annotations

from tests.rig.harness.rig import Rig


def test_estop_channels(rig: Rig) -> None:
    for channel in ("estop", "estop_second"):
        rig.arm()
        rig.press(channel)
        rig.wait(lambda: not rig.drive_enable(), what=f"drive-enable falls by {channel} alone")
        rig.wait(lambda: rig.mode() == "ESTOP", what="mode ESTOP")
        rig.wait(lambda: "channels differ" in str(rig.status()["stop"]["reasons"]), what="the fault is found")
        rig.release()
        rig.wait(lambda: rig.status()["estop"] == "released", what="the release is seen")
        assert "press and release it" in str(rig.refused("reset"))

        rig.press()
        rig.wait(lambda: rig.status()["estop"] == "pressed", what="the press is seen")
        rig.release()
        rig.reset()
        assert not rig.drive_enable(), "a reset alone gave power back"
    rig.run_policy()
    rig.request("disarm")
