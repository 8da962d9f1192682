"""Booted without its devices the daemon says which is missing, until all are back; nothing is energised before."""

from __future__ import annotations

from typing import cast

import pytest

from tests.rig.harness.rig import UNIT, Rig
from tests.rig.harness.target import MOTORS, VirtualTarget

pytestmark = [pytest.mark.virtual, pytest.mark.long(2)]
DRIVER = "/sys/bus/platform/drivers/gpio-sim"
LINES = "udevadm settle; bash /opt/rig/guest/lines.sh"


def motor(fault: str) -> str:
    order = f'{{"op": "fault", "joint": "j0", "kind": "{fault}"}}\\n'
    talk = f"import socket; s = socket.socket(1); s.connect('{MOTORS}'); s.sendall(b'{order}'); s.recv(4096)"
    return f"python3 - <<'END'\n{talk}\nEND"


DEVICES = [
    {
        "/dev/rig-inputs": (f"echo gpio-sim.0 > {DRIVER}/unbind", f"echo gpio-sim.0 > {DRIVER}/bind; {LINES}"),
        "/dev/rig-outputs": (f"echo gpio-sim.1 > {DRIVER}/unbind", f"echo gpio-sim.1 > {DRIVER}/bind; {LINES}"),
    },
    {
        "vcan0": ("ip link set vcan0 down", "ip link set vcan0 up"),
        "adapter": ("mv /run/reflexd/rig/adapter /run/rig/", "mv /run/rig/adapter /run/reflexd/rig/"),
    },
    {"j0": (motor("dead"), motor("clear"))},
]
"""What the daemon has to name, all of a row at once; what takes it away, what brings it back."""
AWAY = """
[Unit]
After=rig-hardware.service reflexd-emulator@rig.service
Before=reflexd@rig.service

[Service]
Type=oneshot
ExecStart=/bin/bash /opt/rig/away.sh

[Install]
WantedBy=multi-user.target
"""


def test_missing_devices(rig: Rig) -> None:
    away = "\n".join(away for row in DEVICES for away, _ in row.values())
    rig.sh(f"cat > /opt/rig/away.sh <<'AWAY'\n{away}\nAWAY")
    rig.sh(f"cat > /etc/systemd/system/away.service <<'UNIT'\n{AWAY}\nUNIT")
    rig.sh("systemctl enable away && sync && systemctl reboot --no-wall")
    cast(VirtualTarget, rig.target).qemu.wait_reset(90.0)
    rig.wait(lambda: int(rig.property("NRestarts")) > 0, what="the service fails")
    told = rig.journal()
    for row in DEVICES:
        assert not [name for name in row if name not in told], told
        assert not rig.drive_enable()
        rig.sh(f"systemctl stop {UNIT}; systemctl reset-failed {UNIT}", 60.0)
        rig.sh("\n".join(back for _, back in row.values()))
        rig.release()
        since = rig.cursor()
        rig.run(f"systemctl start {UNIT}", timeout_s=90.0)
        told = rig.journal(since)
    rig.sh("systemctl disable away")
    rig.safe_after_start()
    rig.run_policy()
    rig.request("disarm")
