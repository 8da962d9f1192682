"""`python -m tests.bench.look`: what the spool's process spends on one look at many segments, CPU time."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from runtime.spool.files import Files
from runtime.spool.keeper import Keeper
from runtime.spool.layout import folders
from runtime.spool.retention import Caps
from tests.spool.segments import make_segment

_LOOKS = 50


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.look", description=__doc__)
    parser.add_argument("--segments", type=int, default=1400)
    arguments = parser.parse_args()
    data, _ = make_segment()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        Files().prepare(folders(root))
        for number in range(arguments.segments):
            (root / f"ready/bulk/arm-{number:06d}.mcap").write_bytes(data)
        keeper = Keeper(root, Caps(10**12, 0), Files(), lambda *told, **fields: None)
        keeper.begin()
        keeper.look()
        spent_ms: dict[str, list[float]] = {"look": [], "status": []}
        for _ in range(_LOOKS):
            for name, work in (("look", keeper.look), ("status", keeper.status)):
                before = time.process_time_ns()
                work()
                spent_ms[name].append((time.process_time_ns() - before) / 1e6)
        keeper.close()
    print(", ".join(f"{name}: {statistics.median(found):.2f} ms" for name, found in spent_ms.items()))


if __name__ == "__main__":
    main()
