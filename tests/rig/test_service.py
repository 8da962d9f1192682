"""The service in systemd's hands: reload, a stop while the robot moves, a daemon that dies at every start."""

from __future__ import annotations

import json
import shlex

import pytest

from runtime.journal import message_id
from tests.rig.harness.rig import UNIT, Rig

pytestmark = [pytest.mark.virtual, pytest.mark.long(1)]
CONFIG = "/etc/reflexd/rig.toml"


def test_service(rig: Rig) -> None:
    reload(rig)
    stop(rig)
    dies_at_every_start(rig)


def told(rig: Rig, event: str, *fields: str) -> dict[str, str]:
    """The journal's last record of an event, found as docs/install.md says."""
    words = shlex.join(["journalctl", "-b", "-o", "json", "-u", UNIT, f"REFLEXD_EVENT={event}", *fields])
    records: str = rig.wait(lambda: rig.sh(words), what=f"{event} is in the journal")
    found: dict[str, str] = json.loads(records.splitlines()[-1])
    return found


def reload(rig: Rig) -> None:
    """It says what it did by its exit code, and the journal has each event with its fields and its message id."""
    rig.sh(f"sed -i 's/^description = .*/description = \"Another\"/' {CONFIG} && systemctl reload {UNIT}")
    record = told(rig, "config.reloaded")
    assert record["REFLEXD_ROBOT_DESCRIPTION"] == "Four hinges in a virtual machine -> Another", record
    assert record["MESSAGE_ID"] == message_id("config.reloaded")

    rig.sh(f"sed -i 's/^stall = .*/stall = 0.3/' {CONFIG}")
    assert rig.run(f"systemctl reload {UNIT}").code != 0, "a key that needs a restart"
    record = told(rig, "config.refused", "PRIORITY=4")
    assert record["REFLEXD_KEYS"] == "safety.stall", record
    rig.sh(f"sed -i 's/^stall = .*/stall = 0.4/' {CONFIG}")
    rig.run_policy()
    assert rig.run(f"systemctl reload {UNIT}").code != 0, "the robot is energised"
    assert rig.mode() == "AUTO", "the refusal stops nobody"


def stop(rig: Rig) -> None:
    """Stopped while it moves: the robot stands and has no torque before the daemon ends, which takes its time."""
    assert any(rig.moving())
    since = rig.cursor()
    rig.sh(f"systemctl stop {UNIT}", 90.0)
    assert rig.property("Result") == "success", rig.journal()
    assert rig.property("ExecMainStatus") == "0", rig.journal()
    took_us = [int(rig.property(f"{name}TimestampMonotonic")) for name in ("ActiveExit", "InactiveEnter")]
    assert not rig.drive_enable()
    assert not any(rig.moving())
    assert rig.torques() == [0.0] * 4
    rig.wait(lambda: "mode STANDBY" in rig.journal(since), what="the daemon tells of a controlled stop")
    rig.note(f"`systemctl stop` of a moving robot takes {(took_us[1] - took_us[0]) / 1e6:.2f} s, 20 s are allowed")


def dies_at_every_start(rig: Rig) -> None:
    """The robot stays off, one message of level crit says so, and what that message says brings it back."""
    rig.sh(f"systemctl start --no-block {UNIT}")
    died = 0
    while rig.property("ActiveState") != "failed":
        if pid := rig.main_pid():
            rig.sh(f"kill -KILL {pid}")
            died += 1
            rig.wait(lambda pid=pid: rig.main_pid() != pid, what="systemd sees that it died")
        rig.wait(lambda: rig.main_pid() or rig.property("ActiveState") == "failed", what="another start, or none")
    assert 2 <= died <= 5, died
    assert "Start request repeated too quickly" in rig.journal()
    assert not rig.drive_enable()
    assert not any(rig.moving())
    critical = "journalctl -b -t reflexd -p crit -o cat"
    (message,) = rig.wait(lambda: rig.sh(critical), what="it is told").splitlines()
    assert "robot rig stays off" in message
    rig.sh(message.partition("when the cause is gone: ")[2], 90.0)
    rig.safe_after_start()
    rig.run_policy()
    rig.request("disarm")
