"""Booted without one of its devices the daemon says which; nothing is energised before it is back."""

from __future__ import annotations

from typing import cast

import pytest

from tests.rig.harness.rig import MOTORS, UNIT, Rig
from tests.rig.harness.target import VirtualTarget

pytestmark = [pytest.mark.virtual, pytest.mark.long]
DRIVER = "/sys/bus/platform/drivers/gpio-sim"
LINES = "udevadm settle; bash /opt/rig/guest/lines.sh; echo pull-up > /run/rig/lines/estop/pull"


def motor(fault: str) -> str:
    order = f'{{"op": "fault", "joint": "j0", "kind": "{fault}"}}\\n'
    talk = f"import socket; s = socket.socket(1); s.connect('{MOTORS}'); s.sendall(b'{order}'); s.recv(4096)"
    return f"python3 - <<'END'\n{talk}\nEND"


DEVICES = {
    "interface": ("vcan0", "ip link set vcan0 down", "ip link set vcan0 up"),
    "inputs": (
        "/dev/rig-inputs",
        f"echo gpio-sim.0 > {DRIVER}/unbind",
        f"echo gpio-sim.0 > {DRIVER}/bind; {LINES}",
    ),
    "outputs": (
        "/dev/rig-outputs",
        f"echo gpio-sim.1 > {DRIVER}/unbind",
        f"echo gpio-sim.1 > {DRIVER}/bind; {LINES}",
    ),
    "adapter": ("adapter", "mv /run/reflexd/rig/adapter /run/rig/", "mv /run/rig/adapter /run/reflexd/rig/"),
    "motor": ("j0", motor("dead"), motor("clear")),
}
"""What the daemon has to name, what takes it away, what brings it back."""
TAKEN = """
[Unit]
After=rig-hardware.service reflexd-emulator@rig.service
Before=reflexd@rig.service

[Service]
Type=oneshot
ExecStart=/bin/bash /opt/rig/away.sh

[Install]
WantedBy=multi-user.target
"""


@pytest.mark.parametrize("device", DEVICES)
def test_missing_devices(rig: Rig, device: str) -> None:
    name, away, back = DEVICES[device]
    rig.sh(f"cat > /opt/rig/away.sh <<'AWAY'\n{away}\nAWAY")
    rig.sh(f"cat > /etc/systemd/system/away.service <<'UNIT'\n{TAKEN}\nUNIT")
    rig.sh("systemctl enable away && sync && systemctl reboot --no-wall")
    cast(VirtualTarget, rig.target).qemu.wait_reset(90.0)

    rig.wait(lambda: int(rig.property("NRestarts")) > 0, 120.0, f"without {name} it does not become ready")
    assert name in rig.journal(), rig.journal()
    assert not rig.drive_enable()
    rig.sh(f"systemctl stop {UNIT}; systemctl disable away", 60.0)
    rig.sh(back)
    rig.restart()
    rig.safe_after_start()
    rig.run_policy()
    rig.request("disarm")
