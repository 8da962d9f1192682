"""The control loop blocks for a second: power is cut when it is configured, latched, and a reset gives it back.

The machine's time does not depend on ours, so the time-out must fall within one tick. The heartbeat line has its
rate while the loop lives, and rests when the loop stalls.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.rig.harness import faults
from tests.rig.harness.rig import Rig

TICK_S = 1 / 25
STALL_S = 0.4
BLOCKED_S = 1.2
HEARTBEAT_S = 0.2
TRIES = 5


@pytest.mark.prepared(how=faults.faulty_daemon, undo=faults.healthy_daemon)
def test_blocked_loop(rig: Rig) -> None:
    pid = rig.main_pid()
    ages = []
    for number in range(TRIES):
        rig.run_policy()
        if number == 0:
            beats(rig)
        faults.break_loop(rig, "block", BLOCKED_S)
        if number == 0:
            rests(rig)
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


def beats(rig: Rig) -> None:
    seen = edges(rig.board("watch", seconds=5.0, names=["heartbeat"]))
    rate = (len(seen) - 1) / (seen[-1] - seen[0]) / 2
    assert abs(rate * HEARTBEAT_S - 1) < 0.1, f"{rate:.2f} Hz"
    rig.note(f"heartbeat {rate:.2f} Hz, {1 / HEARTBEAT_S:.2f} Hz configured")


def rests(rig: Rig) -> None:
    seen = edges(rig.board("watch", seconds=3.0, names=["heartbeat"]))
    gaps = [later - earlier for earlier, later in itertools.pairwise(seen)]
    assert max(gaps) > BLOCKED_S - STALL_S - HEARTBEAT_S, f"the line did not rest: {gaps}"
    rig.note(f"it rests {max(gaps):.2f} s in a stall of {BLOCKED_S} s, {STALL_S} s of which are allowed")


def edges(found: dict[str, Any]) -> list[float]:
    return [at for at, _, _ in found["changes"][1:]]
