"""A USB adapter, by a name that stays, at 1 ms of latency: pulled while the robot runs, back with a new number."""

from __future__ import annotations

from typing import cast

import pytest

from tests.rig.harness import residue
from tests.rig.harness.faults import drop_in
from tests.rig.harness.qemu import CABLE, LOOSE, Qemu
from tests.rig.harness.rig import MEMBER, STRANGER, UNIT, Rig
from tests.rig.harness.target import VirtualTarget

pytestmark = [pytest.mark.virtual, pytest.mark.long(1)]
EMULATOR = "reflexd-emulator@rig"
ROBOT, MOTORS, OTHER = "RIG0001", "RIG0002", "RIG0003"
NAME = "/dev/reflexd/{}-if00"


def plug_in(rig: Rig, qemu: Qemu) -> None:
    """The robot's servos hang on an adapter, their emulator on another one, and a cable is between."""
    config = "/etc/reflexd/rig.toml"
    rig.sh(f"sed -i 's|^port = .*|port = \"{NAME.format(ROBOT)}\"|' {config}")
    rig.sh(f"echo 'ports = {{ arm = \"{NAME.format(MOTORS)}\" }}' >> {config}")
    drop_in(rig, "[Service]\nDeviceAllow=char-ttyUSB rw", unit=EMULATOR)
    rig.sh(f"systemctl stop {UNIT} {EMULATOR}", 90.0)
    for serial, end in zip((ROBOT, MOTORS), CABLE, strict=True):
        qemu.plug(serial, end)
        named(rig, serial)
    rig.sh(f"systemctl start {EMULATOR} {UNIT}", 120.0)


def test_usb_adapter(rig: Rig) -> None:
    qemu = cast(VirtualTarget, rig.target).qemu
    plug_in(rig, qemu)
    rig.safe_after_start()
    before = number(rig)
    for user in (MEMBER, STRANGER):
        shut = rig.run(f"test ! -r /dev/{before} -a ! -w /dev/{before}", user)
        assert shut.code == 0, f"{user} gets past the daemon"
    rig.policy_ready()
    rig.before = residue.look(rig)  # nothing was started before
    rig.run_policy()

    qemu.unplug(ROBOT)
    rig.stopped_by_lost_bus("arm")
    assert "is gone" in str(rig.refused("reset"))

    qemu.plug(OTHER, LOOSE)  # it takes the number, if that has become free
    named(rig, OTHER)
    qemu.plug(ROBOT, CABLE[0])
    named(rig, ROBOT)
    after = number(rig)
    assert after != before
    rig.reset()
    assert not rig.drive_enable(), "a reset alone gave power back"
    rig.run_policy()
    rig.request("disarm")
    rig.note(f"{NAME.format(ROBOT)} was {before}, then {after}, handing bytes over after 1 ms")


def named(rig: Rig, serial: str) -> None:
    rig.wait(lambda: rig.run(f"test -c {NAME.format(serial)}").code == 0, what=f"{serial} has its name")


def number(rig: Rig) -> str:
    """What the kernel calls the robot's adapter now; its driver does not hold bytes back."""
    found = rig.sh(f"basename $(realpath {NAME.format(ROBOT)})").strip()
    latency = f"cat /sys/bus/usb-serial/devices/{found}/latency_timer"
    rig.wait(lambda: rig.sh(latency) == "1\n", what="bytes are handed over after 1 ms")
    return found
