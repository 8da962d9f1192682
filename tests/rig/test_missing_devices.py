"""Started without one of its devices the daemon says which, energises nothing, and starts when it is back."""

from __future__ import annotations

import pytest

from tests.rig.harness.rig import UNIT, Rig

pytestmark = pytest.mark.virtual
DRIVER = "/sys/bus/platform/drivers/gpio-sim"
ABSENT = {
    "vcan0": ("ip link set vcan0 down", "ip link set vcan0 up"),
    "/dev/rig-inputs": (
        f"echo gpio-sim.0 > {DRIVER}/unbind",
        f"echo gpio-sim.0 > {DRIVER}/bind; udevadm settle; "
        "bash /opt/rig/guest/lines.sh; echo pull-up > /run/rig/lines/estop/pull",
    ),
    "adapter": ("mv /run/reflexd/rig/adapter /run/rig/away", "mv /run/rig/away /run/reflexd/rig/adapter"),
    "joint j0": ("motor j0 dead", "motor j0 clear"),
}


def change(rig: Rig, words: str) -> None:
    if words.startswith("motor "):
        _, joint, kind = words.split()
        rig.motors("fault", joint=joint, kind=kind)
    else:
        rig.sh(words)


def test_missing_devices(rig: Rig) -> None:
    for name, (away, back) in ABSENT.items():
        rig.sh(f"systemctl stop {UNIT}", 60.0)
        change(rig, away)
        since = rig.cursor()
        done = rig.run(f"systemctl start {UNIT}", timeout_s=90.0)
        assert done.code != 0, f"it started without {name}"
        assert name in rig.journal(since), rig.journal(since)
        assert not rig.drive_enable()
        rig.sh(f"systemctl stop {UNIT}; systemctl reset-failed {UNIT}", 60.0)
        change(rig, back)
        rig.restart()
        rig.safe_after_start()
    rig.run_policy()
    rig.request("disarm")
