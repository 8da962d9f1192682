"""The kernel kills the daemon for its memory: the robot stands, systemd starts another daemon, disarmed."""

from __future__ import annotations

from tests.rig.harness.rig import UNIT, Rig


def test_oom_kill(rig: Rig) -> None:
    rig.run_policy()
    pid, since = rig.main_pid(), rig.cursor()
    worker = rig.status()["policy"]["pid"]
    rig.sh(f"echo 1000 > /proc/{pid}/oom_score_adj; echo -1000 > /proc/{worker}/oom_score_adj")
    group = "/sys/fs/cgroup" + rig.property("ControlGroup")
    rig.sh(f"echo 20M > {group}/memory.max", 120.0)
    rig.wait(lambda: rig.run(f"kill -0 {pid}").code != 0, what="the daemon is killed")
    rig.run(f"echo max > {group}/memory.max")
    rig.wait(lambda: not rig.drive_enable(), what="drive-enable falls")
    rig.wait(lambda: not any(rig.moving()), what="the robot stands")
    rig.replaced(pid)
    rig.safe_after_start()
    rig.sh(f"journalctl -b -k --no-pager -g 'Killed process {pid} '")
    assert UNIT in rig.journal(since)
