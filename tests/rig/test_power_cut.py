"""The power fails while the robot records, and the disk forgets what is in its cache: what was synced stays."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import cast

import pytest

from tests.rig.harness import disks as disk
from tests.rig.harness.build import Frozen
from tests.rig.harness.nbd import CachedDisk
from tests.rig.harness.qemu import Qemu
from tests.rig.harness.recordings import times
from tests.rig.harness.rig import Rig
from tests.rig.harness.target import VirtualTarget

pytestmark = [pytest.mark.virtual, pytest.mark.long(4)]
LOST_S = 5.0
"""docs/recording.md promises what was written half a second ago; this machine is slow."""


def test_power_cut(rig: Rig, ready: Frozen, disks: Path, pytestconfig: pytest.Config) -> None:
    cuts = int(pytestconfig.getoption("--cuts"))
    rig.run_policy()
    time.sleep(LOST_S)
    target = cast(VirtualTarget, rig.target)
    state, running = disks / "recording.state", disks / "running.raw"
    target.qemu.freeze(state)
    disk.raw(disks / "root.qcow2", running)
    generator = random.Random(0)
    lost: list[float] = []
    writes = dropped = 0
    for cut in range(cuts):
        folder = disks / f"cut{cut}"
        folder.mkdir()
        root = folder / "root.raw"
        subprocess.run(["cp", "--sparse=always", running, root], check=True)
        cached = CachedDisk(root, folder / "nbd")
        qemu = Qemu(ready.machine, [cached.url, ready.payload], folder / "console.txt", state=state)
        time.sleep(generator.uniform(0.2, 3.0))
        now_s = float(qemu.agent.run(["cut", "-d ", "-f1", "/proc/uptime"]).out)
        qemu.kill()
        waited, gone = cached.cut(generator)
        writes, dropped = writes + waited, dropped + gone
        found = disk.recordings(root, folder)
        last_ns = max((at for path in found for at in times(path)), default=0)
        assert last_ns, f"cut {cut}: nothing can be read of {found}"
        lost.append(now_s - last_ns / 1e9)
        assert max(Counter(path.name for path in found).values()) == 1, f"each is in one place: {found}"
        if cut < cuts - 1:
            shutil.rmtree(folder)
    assert dropped, "the disk has forgotten something"
    assert max(lost) < LOST_S, f"lost s: {lost}"
    lost.sort()
    rig.note(
        f"{cuts} cuts, {dropped} of {writes} writes in the disk's cache dropped, every recording readable; "
        f"lost at its end: median {lost[cuts // 2]:.1f} s, most {lost[-1]:.1f} s"
    )

    after = disks / "after"
    after.mkdir()
    changed = disks / "after.qcow2"
    subprocess.run(
        ["qemu-img", "convert", "-O", "qcow2", disks / f"cut{cuts - 1}" / "root.raw", changed], check=True
    )
    target.qemu = Frozen(ready.machine, changed, ready.payload, state).boot(after)
    rig.safe_after_start()
    rig.run_policy()
    rig.request("disarm")
    names = rig.sh("find /var/lib/reflexd/rig -name '*.mcap'").split()
    assert len(names) > 1, f"the old recordings are kept beside the new one: {names}"
    assert sum("/open/" in name for name in names) <= 1, f"all but the new one are recovered: {names}"
