"""The control loop blocks for a second: power is cut when it is configured, latched, and a reset gives it back.

The machine's time does not depend on ours, so the time-out must fall within one tick.
"""

from __future__ import annotations

from tests.rig.harness import faults
from tests.rig.harness.rig import Rig

TICK_S = 1 / 25
STALL_S = 0.4
TRIES = 5


def test_blocked_loop(rig: Rig) -> None:
    faults.faulty_daemon(rig)
    pid = rig.main_pid()
    ages = []
    for _ in range(TRIES):
        rig.run_policy()
        faults.break_loop(rig, "block", 1.2)
        rig.wait(lambda: rig.mode() == "FAULT", what="mode FAULT")
        assert not rig.drive_enable()
        event = rig.event("safety.torque_off")
        assert event is not None
        assert event["fields"]["causes"] == ["stall"], event
        ages.append(event["fields"]["beat_age_ms"] / 1e3)
        rig.wait(lambda: not any(rig.moving()), what="the robot stands")
        rig.reset()
    rig.note(f"stall of {STALL_S} s seen after {', '.join(f'{age * 1e3:.1f}' for age in ages)} ms")
    assert all(STALL_S <= age <= STALL_S + TICK_S for age in ages)
    assert rig.main_pid() == pid, "a stall shorter than systemd's watchdog restarts nothing"
    rig.run_policy()
    rig.request("disarm")
    faults.healthy_daemon(rig)
    rig.safe_after_start()
