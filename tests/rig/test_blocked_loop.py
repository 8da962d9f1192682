"""The control loop blocks for a second: power is cut, latched, and the robot can be used again after a reset."""

from __future__ import annotations

from tests.rig.harness import faults
from tests.rig.harness.rig import Rig


def test_blocked_loop(rig: Rig) -> None:
    faults.faulty_daemon(rig)
    rig.run_policy()
    pid = rig.main_pid()
    faults.break_loop(rig, "block", 1.2)
    rig.wait(lambda: not rig.drive_enable(), what="drive-enable falls")
    rig.wait(lambda: rig.mode() == "FAULT", what="mode FAULT")
    rig.wait(lambda: not any(rig.moving()), what="the robot stands")
    event = rig.event("safety.torque_off")
    assert event is not None
    assert event["fields"]["causes"] == ["stall"], event
    rig.note(f"power cut {event['fields']['beat_age_ms']:.0f} ms after the last beat, 400 ms are allowed")
    assert rig.main_pid() == pid, "a stall shorter than systemd's watchdog restarts nothing"
    rig.reset()
    rig.run_policy()
    rig.request("disarm")
    faults.healthy_daemon(rig)
    rig.safe_after_start()
