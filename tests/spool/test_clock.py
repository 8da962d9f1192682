"""The robot's clock is set back by a year while it records and uploads, and set right again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("obstore", reason="the package obstore (extra upload) is not installed")
from runtime.events import Events
from runtime.recording.contract import KeepRules
from runtime.recording.recorder import Recorder
from runtime.spool.spool import Spool
from tests.recording.test_recorder import make_trace, read_ticks, write_ticks
from tests.spool.delivered import WRONG, delivered
from tests.spool.server import CREDENTIALS, Link, s3, upload

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
pytestmark = pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed: apt-get install faketime")
SKEW_S = 900.0
"""What S3 takes."""


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_clock_that_goes_back_a_year_loses_nothing_and_sends_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, root = tmp_path / "clock", tmp_path / "spool"
    clock.write_text("+0\n")
    more = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",  # as nobody can set that clock
    }
    for name, value in (CREDENTIALS | more).items():
        monkeypatch.setenv(name, value)
    with s3() as server:
        link = Link(int(server.rpartition(":")[2]))
        link.skew_max_s = SKEW_S
        events, trace = Events(), make_trace()
        recorder = Recorder(trace, events, root, "r", KeepRules(segment_s=0.3), {}, sync_s=0.2)
        settings = {"directory": str(root), "size_max": 10**12, "free_min": 0, "cpus": [], "robot": "r"}
        spool = Spool(events, settings | {"upload": upload(link.url)})
        recorder.start()
        spool.start()
        ticks = 0
        for offset in ("+0", "-365d", "+0"):
            clock.write_text(f"{offset}\n")
            for _ in range(3):
                write_ticks(trace, ticks, 10)
                ticks += 10
                await asyncio.sleep(0.4)
            if ticks == 30:
                await until(lambda: events.counts["upload.sent"])
            if offset != "+0":
                await until(lambda: events.counts["upload.failed"])
                assert "403" in next(event.message for event in events.recent if event.name == "upload.failed")
        await recorder.close()
        await spool.request("send_now")
        await until(lambda: not list(root.glob("open/*")) and not list(root.glob("ready/*/*")))
        await spool.close()
        link.close()
        found = delivered(root, server)
    years = {path.name[2:6] for path in root.glob("sent/*/*")}
    assert len(years) == 2, years
    assert sorted(tick for path in root.glob("sent/*/*") for tick in read_ticks(path)) == list(range(ticks))
    assert found["segments"] == len(list(root.glob("sent/*/*")))
    assert not any(found[name] for name in WRONG), found
    assert events.counts["upload.back"] == 1
