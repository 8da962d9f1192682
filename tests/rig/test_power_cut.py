"""The power fails 20 times while the robot records: what the disk had taken can be read."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import cast

import pytest

from tests.rig.harness import disks as disk
from tests.rig.harness.build import Frozen
from tests.rig.harness.recordings import times
from tests.rig.harness.rig import Rig
from tests.rig.harness.target import VirtualTarget

pytestmark = [pytest.mark.virtual, pytest.mark.long(4)]
CUTS = 20
LOST_S = 5.0
"""docs/recording.md promises what was written half a second ago; this machine is slow."""


def test_power_cut(rig: Rig, ready: Frozen, disks: Path) -> None:
    rig.run_policy()
    time.sleep(LOST_S)
    target = cast(VirtualTarget, rig.target)
    state = disks / "recording.state"
    target.qemu.freeze(state)
    running = Frozen(ready.machine, disks / "root.qcow2", ready.payload, state)
    lost: list[float] = []
    for cut in range(CUTS):
        folder = disks / f"cut{cut}"
        folder.mkdir()
        qemu = running.thaw(folder)
        time.sleep(random.uniform(0.2, 1.5))
        now_s = float(qemu.agent.run(["cut", "-d ", "-f1", "/proc/uptime"]).out)
        qemu.kill()
        found = disk.recordings(folder / "root.qcow2", folder)
        last_ns = max((at for path in found for at in times(path)), default=0)
        assert last_ns, f"cut {cut}: nothing can be read of {found}"
        lost.append(now_s - last_ns / 1e9)
        if cut < CUTS - 1:
            (folder / "root.qcow2").unlink()
    assert max(lost) < LOST_S, f"lost s: {lost}"
    lost.sort()
    rig.note(
        f"{CUTS} cuts, every recording readable; lost at its end: "
        f"median {lost[CUTS // 2]:.1f} s, most {lost[-1]:.1f} s"
    )

    after = disks / "after"
    after.mkdir()
    target.qemu = Frozen(ready.machine, disks / f"cut{CUTS - 1}" / "root.qcow2", ready.payload, state).boot(after)
    rig.safe_after_start()
    rig.run_policy()
    rig.request("disarm")
    names = rig.sh("find /var/lib/reflexd/rig -name '*.mcap'").split()
    assert len(names) > 1, f"the old recordings are kept beside the new one: {names}"
