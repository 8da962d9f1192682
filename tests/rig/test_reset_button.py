"""The reset button: it resets when it is let go, not while the cause stands, and it starts nothing."""

from __future__ import annotations

from tests.rig.harness.rig import Rig


def click(rig: Rig) -> None:
    """Press and let go, with a look of the daemon between."""
    for pressed in (True, False):
        rig.board("button", pressed=pressed)
        rig.status()


def test_reset_button(rig: Rig) -> None:
    rig.run_policy()
    rig.press()
    rig.wait(lambda: rig.mode() == "ESTOP", what="mode ESTOP")
    rig.wait(lambda: click(rig) or rig.event("reset_button.refused"), what="the refusal is told")
    assert rig.mode() == "ESTOP", "the e-stop is still pressed"
    rig.release()
    rig.wait(lambda: rig.status()["estop"] == "released", what="the release is seen")
    rig.board("button", pressed=True)
    rig.wait(lambda: not any(rig.moving()), what="the robot stands")
    assert rig.mode() == "ESTOP", "pressing alone does nothing"
    rig.wait(lambda: click(rig) or rig.mode() == "STANDBY", what="letting go resets")
    assert not rig.drive_enable(), "a reset alone gave power back"
    rig.run_policy()
    rig.request("disarm")
