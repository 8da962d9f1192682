"""A CAN controller, set up by systemd-networkd, goes while the robot runs, comes back, and is set up again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.rig.harness import page
from tests.rig.harness.rig import Rig

pytestmark = pytest.mark.virtual
DRIVER = "/sys/bus/pci/drivers/kvaser_pci"


def with_controllers(rig: Rig) -> None:
    """The robot hangs on can0, its motors are played at can1; both were set up as docs/install.md says."""
    rig.sh("\n".join(page.row("CAN interface")))
    for name in ("can0", "can1"):
        rig.wait(lambda name=name: link(rig, name)["operstate"] == "UP", what=f"{name} is up")
    rig.sh("sed -i 's/^channel = .*/channel = \"can0\"/' /etc/reflexd/rig.toml")
    rig.sh("echo 'ports = { leg = \"can1\" }' >> /etc/reflexd/rig.toml")
    rig.sh("systemctl restart reflexd-emulator@rig", 90.0)
    rig.restart()


def link(rig: Rig, name: str = "can0") -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(rig.sh(f"ip -d -j link show {name}"))
    return found[0]


@pytest.mark.prepared(how=with_controllers)
def test_can_removed(rig: Rig) -> None:
    before = link(rig)["linkinfo"]["info_data"]
    assert before["bittiming"]["bitrate"] == 1_000_000, before
    assert before["restart_ms"] == 100, before
    rig.run_policy()

    address = rig.sh("basename $(realpath /sys/class/net/can0/device)").strip()
    rig.sh(f"echo {address} > {DRIVER}/unbind")
    rig.stopped_by_lost_bus("leg")
    rig.refused("arm")
    rig.sh(f"echo {address} > {DRIVER}/bind")
    rig.reset()
    after = link(rig)["linkinfo"]["info_data"]
    assert after["bittiming"] == before["bittiming"], "nobody but systemd-networkd has set it up again"
    rig.run_policy()
    rig.request("disarm")
