"""`python -m tests.bench.small_disk`: the Go1 records to a small disk, which is then filled to the brim.

Needs root and the Go1's model. The loop's lateness and missed deadlines before, and while the disk is full.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from runtime.config.load import load
from tests.bench.surroundings import CONFIGS, machine, save
from tests.bench.uplink import Robot
from tests.spool.small_disk import fill, small_disk, why_not

SIZE = 64_000_000
SPAN_S = 45.0


def measure(folder: Path) -> dict[str, Any]:
    config = load(CONFIGS / "go1.toml", run_dir=folder)
    with small_disk(folder, SIZE) as disk:
        settings = [f'recording.directory="{disk}/recordings"', "recording.segment_minutes=0.1"]
        robot = Robot(config, [*settings, "spool.free_min=0.008", "safety.arming.disk_free=0.0"])
        before = robot.windows(SPAN_S)
        ended = threading.Event()

        def keep_full() -> None:
            while not ended.wait(0.2):
                fill(disk / "filler")

        filling = threading.Thread(target=keep_full)
        filling.start()
        full = robot.windows(SPAN_S)
        failed = robot.daemon.request("status")["recording"]["failed"]
        lost = robot.daemon.request("spool")["lost"]
        ended.set()
        filling.join()
        robot.close()
    return {"failed": failed, "lost": lost, "before": before, "full": full}


def main() -> None:
    """Run it, print it, write results/small_disk.json."""
    if trouble := why_not():
        sys.exit(trouble)
    with tempfile.TemporaryDirectory(prefix="rfx-") as name:
        os.environ["STATE_DIRECTORY"] = f"{name}/state"
        found = measure(Path(name))
    save("small_disk", {"machine": machine(), **found})
    print(f"{found['failed']}; lost: {found['lost']}")
    for what in ("before", "full"):
        for window in found[what]:
            print(f"{what}: p99 {window['p99']:.0f} us, {window['missed']} of {window['ticks']} deadlines missed")


if __name__ == "__main__":
    main()
