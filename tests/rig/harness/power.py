"""Cuts a machine's power at one of its disk's writes, and has its disk forget what was in the cache."""

from __future__ import annotations

import random
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.rig.harness.build import Frozen
from tests.rig.harness.nbd import CachedDisk
from tests.rig.harness.qemu import Qemu
from tests.rig.harness.rig import Rig
from tests.rig.harness.target import VirtualTarget

WRITES_MAX = 60
"""The power fails at one of so many writes."""
GOES_ON_TICKS = 75
"""Three seconds: longer than systemd waits for a daemon that hangs."""
_PATIENCE_S = 120.0
_QUEUE = "/sys/block/vda/queue"


@dataclass(frozen=True, slots=True)
class Cut:
    """What the robot knew when its power failed, and what its disk did."""

    at_s: float
    """Its CLOCK_MONOTONIC, a little later than the power failed."""
    synced_bytes: int
    """Of recordings, since the start of the daemon."""
    sent: dict[str, str]
    """Keys of the segments that were on the server, with their SHA-256."""
    flushes: int
    cached: int
    """Writes that were in the disk's cache."""
    lost: int
    """Those of them that did not reach the disk, or not whole."""


def cut(frozen: Frozen, root: Path, folder: Path, generator: random.Random) -> Cut:
    """Let the machine go on until its power fails. `root`: a copy of its disk, raw, which is changed."""
    disk = CachedDisk(root, folder / "nbd", generator.randint(1, WRITES_MAX))
    qemu = Qemu(frozen.machine, [disk.url, frozen.payload], folder / "console.txt", state=frozen.state)
    try:
        assert disk.cut.wait(_PATIENCE_S), f"the machine has written only {disk.writes} times"
        # The disk is dead, and nothing more can be synced: what the robot believes now was true before.
        rig = Rig(VirtualTarget(qemu))
        status = rig.status()
        told = [event["fields"] for event in rig.events() if event["name"] == "upload.sent"]
        sent = {fields["key"]: fields["sha256"] for fields in told}
        at_s = float(qemu.agent.get("/proc/uptime").split()[0])
        cache, fua = (qemu.agent.get(f"{_QUEUE}/{name}").decode().strip() for name in ("write_cache", "fua"))
        assert (cache, fua) == ("write back", "0"), "the machine knows that it has to flush"
        later = status["tick"] + GOES_ON_TICKS
        rig.wait(lambda: rig.status()["tick"] > later, what="control goes on without a disk")
        assert rig.mode() in ("AUTO", "HOLD"), rig.status()["stop"]
    finally:
        qemu.kill()
        cached, lost = disk.close(generator)
    return Cut(at_s, status["recording"]["bytes"], sent, disk.flushes, cached, lost)


def copy(disk: Path, target: Path) -> Path:
    """A copy of a raw disk, without its holes."""
    subprocess.run(["cp", "--sparse=always", disk, target], check=True)
    return target
