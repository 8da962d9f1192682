"""The daemon is frozen: motors stop by themselves, systemd's watchdog starts another, disarmed."""

from __future__ import annotations

from tests.rig.harness.rig import Rig


def test_sigstop(rig: Rig) -> None:
    rig.run_policy()
    pid, since = rig.main_pid(), rig.cursor()
    rig.sh(f"kill -STOP {pid}")
    rig.wait(lambda: not any(rig.moving()), what="the motors stop by themselves")
    rig.replaced(pid)
    rig.safe_after_start()
    assert "Watchdog timeout" in rig.journal(since)
    rig.reset()  # the motors remember that nobody talked to them
    rig.run_policy()
    rig.request("disarm")
