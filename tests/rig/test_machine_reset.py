"""The daemon freezes, nobody restarts it: /dev/watchdog resets the machine, which stands still and says why.

The machine boots with the drop-in that waits for the robot's devices.
"""

from __future__ import annotations

from typing import cast

import pytest

from tests.rig.harness import faults
from tests.rig.harness.rig import UNIT, Rig
from tests.rig.harness.target import VirtualTarget

pytestmark = [pytest.mark.virtual, pytest.mark.long(2)]
TIMEOUT_S = 10
DROP_INS = "/etc/systemd/system"
DEVICES = ("sys-subsystem-net-devices-vcan0.device", "dev-gpiochip0.device")


def watched(rig: Rig) -> None:
    """/dev/watchdog is the only one to look after the daemon."""
    rig.sh(
        f"cat >> /etc/reflexd/rig.toml <<'END'\n[safety.watchdog]\ndevice = '/dev/watchdog0'\n"
        f"timeout = {TIMEOUT_S}\nEND"
    )
    example = "/opt/reflexd/current/share/reflexd/systemd/drop-ins/devices.conf"
    rig.sh(f"install -D {example} {DROP_INS}/{UNIT}.service.d/devices.conf")
    rig.sh(f"sed -i s/can0/vcan0/ {DROP_INS}/{UNIT}.service.d/devices.conf")
    faults.drop_in(rig, "[Service]\nRestart=no\nWatchdogSec=0", DROP_INS)
    rig.restart()


@pytest.mark.prepared(how=watched)
def test_machine_reset(rig: Rig) -> None:
    qemu = cast(VirtualTarget, rig.target).qemu
    assert rig.event("safety.watchdog_armed"), rig.journal()
    rig.run_policy()
    rig.sh("sync")
    boot = rig.sh("cat /proc/sys/kernel/random/boot_id")
    stop = f"kill -STOP {rig.main_pid()}"
    assert not qemu.watchdog_fired.is_set(), "a running daemon feeds the watchdog"
    rig.sh(stop)
    rig.wait(lambda: not any(rig.moving()), what="the motors stop by themselves")
    assert not qemu.watchdog_fired.is_set(), "the motors were first"
    qemu.wait_reset(60.0)
    assert qemu.watchdog_fired.is_set(), "it was the watchdog"

    rig.safe_after_start()
    assert rig.sh("cat /proc/sys/kernel/random/boot_id") != boot
    started_us = int(rig.property("ExecMainStartTimestampMonotonic"))
    for device in DEVICES:
        assert 0 < int(rig.property("ActiveEnterTimestampMonotonic", device)) < started_us, device
    told = rig.event("boot.reset")
    assert told, rig.journal()
    rig.note(told["message"])
    assert rig.status()["reset_by"]
    rig.run_policy()
    rig.request("disarm")
