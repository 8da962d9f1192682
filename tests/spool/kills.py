"""SIGKILL at random moments: the recorder, the spool's process or both, while they write, seal and send segments.

`python -m tests.spool.kills --kills 500` prints what was found, as one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

from runtime.events import Events
from runtime.recording import recorder as recorder_module
from runtime.recording.contract import KeepRules
from runtime.recording.recorder import Recorder
from runtime.recording.ring import TraceRing
from runtime.spool import spool as spool_module
from runtime.spool.layout import OPEN
from runtime.spool.spool import Spool
from tests.recording.test_recorder import make_trace, read_ticks, write_ticks
from tests.spool.delivered import WRONG, delivered
from tests.spool.server import CREDENTIALS, Link, s3, upload

_TICKS = 20
_PAUSE_S = 0.02
_SEGMENT_S = 0.5
_SYNC_S = 0.2
_WAIT_S, _DRAIN_S = 120.0, 1800.0
_LINK_BPS = 300e3
"""So slow that many a transfer is cut off by a kill."""
BAD = ("missing", "dropped", *WRONG)
"""What must be 0 of what is found."""


async def kill_at_random(root: Path, kills: int, seed: int) -> dict[str, Any]:
    """Record and upload while somebody kills. Returns counts: `ticks` recorded, `missing`, `twice` and so on."""
    with s3() as server, mock.patch.dict(os.environ, CREDENTIALS):
        link = Link(int(server.rpartition(":")[2]))
        link.rate_bps = _LINK_BPS
        try:
            found = await _kill_at_random(root, kills, seed, link)
        finally:
            link.close()
        return found | delivered(root, server)


async def _kill_at_random(root: Path, kills: int, seed: int, link: Link) -> dict[str, Any]:
    generator = random.Random(seed)
    events, trace = Events(), make_trace(capacity=50_000)
    settings = {
        "directory": str(root),
        "size_max": 10**12,
        "free_min": 0,
        "cpus": [],
        "robot": "r",
        "upload": upload(link.url),
    }
    with (
        mock.patch.multiple(recorder_module, _RETRY_MAX_S=0.2),
        mock.patch.multiple(spool_module, _RETRY_MAX_S=0.2),
    ):
        recorder = Recorder(trace, events, root, "r", KeepRules(segment_s=_SEGMENT_S), {}, sync_s=_SYNC_S)
        spool = Spool(events, settings)
        recorder.start()
        spool.start()
        writing = asyncio.create_task(_write(trace))
        victims: Counter[str] = Counter()
        while sum(victims.values()) < kills:
            names = generator.choice([["reflexd-record"], ["reflexd-spool"], ["reflexd-record", "reflexd-spool"]])
            alive = await _until(lambda names=names: _children(names))
            if "reflexd-spool" in names and generator.random() < 0.5 and any(root.glob("ready/*/*")):
                puts = len(link.puts)
                await _until(lambda puts=puts: len(link.puts) > puts)  # in the middle of a transfer, or soon after
            # From the start of a process to well behind its first sync, and a seal.
            await asyncio.sleep(generator.uniform(0, 1.0))
            for pid in alive:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            victims["+".join(names)] += 1
        writing.cancel()
        await _until(lambda: _children(["reflexd-record"]))
        count = trace._written
        await _until(lambda: trace._header[1] == count)
        await recorder.close()
        await _until(lambda: not any((root / OPEN).iterdir()))
        link.rate_bps = None
        await _until(lambda: not any(root.glob("ready/*/*")), _DRAIN_S)
        await spool.close()
    return _found(root, count, events) | {"kills": dict(victims), "dropped": recorder.dropped}


async def _write(trace: TraceRing) -> None:
    while True:
        write_ticks(trace, trace._written, _TICKS)
        await asyncio.sleep(_PAUSE_S)


def _found(root: Path, count: int, events: Events) -> dict[str, Any]:
    paths = sorted(root.glob("sent/*/*.mcap"))
    seen = Counter(tick for path in paths for tick in read_ticks(path))
    return {
        "ticks": count,
        "recovered": events.counts["spool.recovered"],
        "lost": len(list(root.glob("lost/*/*"))),
        "missing": len(set(range(count)) - set(seen)),
        "twice": sum(times > 1 for times in seen.values()),
    }


def _children(names: list[str]) -> list[int]:
    """The running children of this process with these names; none unless all are there."""
    found = {}
    for children in Path("/proc/self/task").glob("*/children"):
        pids = []
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended
            pids = children.read_text().split()
        for pid in pids:
            with suppress(FileNotFoundError, ProcessLookupError):
                found[Path(f"/proc/{pid}/comm").read_text().strip()] = int(pid)
    return [found[name] for name in names] if set(names) <= set(found) else []


async def _until(condition: Any, patience_s: float = _WAIT_S) -> Any:
    deadline = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited for too long"
        await asyncio.sleep(0.01)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(kill_at_random(Path(folder), arguments.kills, arguments.seed))
    print(json.dumps(found))
    sys.exit(any(found[name] for name in BAD))


if __name__ == "__main__":
    main()
