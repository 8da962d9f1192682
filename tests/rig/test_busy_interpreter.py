"""Calls that let no other thread run: motors stop by themselves; if it lasts, systemd starts another daemon."""

from __future__ import annotations

import pytest

from tests.rig.harness import faults
from tests.rig.harness.rig import Rig


@pytest.mark.prepared(how=faults.faulty_daemon, undo=faults.healthy_daemon)
def test_busy_interpreter(rig: Rig) -> None:
    rig.run_policy()
    faults.break_loop(rig, "busy", 0.7)  # systemd waits for 2 s, and throttled it takes half a second longer
    rig.wait(lambda: rig.mode() == "FAULT", what="mode FAULT, as soon as it can tell")
    assert not rig.drive_enable()
    rig.wait(lambda: not any(rig.moving()), what="the robot stands")
    rig.reset()

    rig.run_policy()
    pid, since = rig.main_pid(), rig.cursor()
    faults.break_loop(rig, "freeze", 60.0)
    rig.wait(lambda: not any(rig.moving()), what="the motors stop by themselves")
    rig.replaced(pid)
    rig.safe_after_start()
    told = rig.journal(since)
    assert "Watchdog timeout" in told
    assert "Current thread" in told, "the stacks of the threads are in the journal"
