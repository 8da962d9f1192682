"""The power fails while the robot records and uploads, and the disk forgets its cache: what was synced stays."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import random
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import cast

import pytest

from runtime.events import Events
from runtime.spool.spool import Spool
from tests.rig.harness import disks as disk
from tests.rig.harness import power
from tests.rig.harness.build import Frozen
from tests.rig.harness.recordings import intact_bytes, ticks
from tests.rig.harness.rig import UNIT, Rig
from tests.rig.harness.target import VirtualTarget
from tests.spool.delivered import WRONG, delivered
from tests.spool.server import upload

pytestmark = [pytest.mark.virtual, pytest.mark.long(4)]
LOST_S = 5.0
"""docs/recording.md promises what was written half a second ago; this machine is slow."""
SAID = ("unsent", "twice_sent", "corrupt")
"""Of what the server has before anybody repairs anything: what was on its way may be there in pieces."""
CONFIG = f"""
[recording]
segment_minutes = 0.02

[upload]
url = "file://{disk.STATE}/server"
"""


def uploading(rig: Rig) -> None:
    """In segments of a second, to a folder of the same disk."""
    rig.sh(f"systemctl stop {UNIT} && rm -r {disk.STATE}/recordings", 90.0)
    rig.sh(f"cat >> /etc/reflexd/rig.toml <<'END'\n{CONFIG}\nEND\nsync")
    rig.restart()


@pytest.mark.prepared(how=uploading)
def test_power_cut(rig: Rig, ready: Frozen, disks: Path, pytestconfig: pytest.Config) -> None:
    cuts = int(pytestconfig.getoption("--cuts"))
    rig.run_policy()
    rig.wait(lambda: len(names_sent(rig)) > 3, what="segments are sent")
    target = cast(VirtualTarget, rig.target)
    running = Frozen(ready.machine, disks / "running.raw", ready.payload, disks / "recording.state")
    target.qemu.freeze(running.state)
    disk.raw(disks / "root.qcow2", running.disk)
    generator, last = random.Random(0), disks / "last.raw"
    done: list[power.Cut] = []
    lost_s: list[float] = []
    segments = 0
    for number in range(cuts):
        folder = disks / f"cut{number}"
        folder.mkdir()
        root = power.copy(running.disk, folder / "root.raw")
        done.append(cut := power.cut(running, root, folder, generator))
        if number == cuts - 1:
            power.copy(root, last)  # nobody has repaired this one
        found = disk.state(root, folder)
        check(found, cut)
        last_ns = recover(found)
        lost_s.append(cut.at_s - last_ns / 1e9)
        names = {path.name for path in found.glob("recordings/sent/*/*.mcap")}
        segments += len(names)
        shutil.rmtree(folder)
    assert max(lost_s) < LOST_S, f"lost s: {lost_s}"
    lost_s.sort()
    rig.note(
        f"{cuts} cuts, {sum(cut.flushes for cut in done)} flushes before them; "
        f"{sum(cut.lost for cut in done)} of {sum(cut.cached for cut in done)} writes in the disk's cache lost; "
        f"{segments} segments delivered, each once; the end of recordings that is lost: "
        f"median {lost_s[cuts // 2]:.1f} s, most {lost_s[-1]:.1f} s"
    )

    after = disks / "after"
    after.mkdir()
    target.qemu = Frozen(ready.machine, last, ready.payload, Path()).boot(after)
    rig.safe_after_start()
    rig.wait(lambda: names <= names_sent(rig), what="what the power cut has left is sent")
    packed = rig.sh(f"tar -C {disk.STATE} -cz recordings/sent server | base64 -w0")
    subprocess.run(["tar", "-xz", "-C", after], input=base64.b64decode(packed), check=True)
    on_server = delivered(after / "recordings", f"file://{after}/server")
    assert not any(on_server[name] for name in SAID), on_server
    rig.run_policy()
    rig.request("disarm")


def names_sent(rig: Rig) -> set[str]:
    """The segments that the server has."""
    return set(rig.sh(f"find {disk.STATE}/recordings/sent -name '*.mcap' -printf '%f\\n'").split())


def check(state: Path, cut: power.Cut) -> None:
    """The disk has what was synced, before anybody has repaired anything."""
    root, server = state / "recordings", state / "server"
    paths = list(root.glob("open/*.mcap")) + list(root.glob("*/*/*.mcap"))
    twice = [name for name, count in Counter(path.name for path in paths).items() if count > 1]
    assert not twice, f"in two places: {twice}"
    for path in paths:
        assert path.parent.name == "open" or intact_bytes(path) == path.stat().st_size, f"not whole: {path}"
    assert sum(map(intact_bytes, paths)) >= cut.synced_bytes, "what was synced can be read"
    for key, sha256 in cut.sent.items():
        assert hashlib.sha256((server / key).read_bytes()).hexdigest() == sha256, key
    found = delivered(root, f"file://{server}")
    assert found["segments"] >= len(cut.sent), found
    assert not any(found[name] for name in SAID), found


def recover(state: Path) -> int:
    """Have the spool do what it does at its next start. Returns the time of the last tick on the server, ns."""
    root, server = state / "recordings", state / "server"
    asyncio.run(deliver(root, server))
    found = delivered(root, f"file://{server}")
    assert not any(found[name] for name in WRONG), found
    assert found["segments"] == found["objects"], found
    kept = sorted(tick for path in server.rglob("*.mcap") for tick in ticks(path))
    numbers = [number for number, _ in kept]
    assert numbers == list(range(numbers[0], numbers[-1] + 1)), "each tick is there once"
    return kept[-1][1]


async def deliver(root: Path, server: Path) -> None:
    """The real spool, on this computer."""
    to = upload("", url=f"file://{server}", endpoint=None, region=None, fleet="default")
    settings = {"directory": str(root), "size_max": 10**12, "free_min": 0, "cpus": [], "robot": "rig"}
    spool = Spool(Events(), settings | {"upload": to})
    spool.start()
    async with asyncio.timeout(120):
        while any(root.glob("open/*")) or any(root.glob("ready/*/*")):
            await asyncio.sleep(0.05)
    await spool.close()
