"""Bad weather on a real cable to the server. `python -m tests.bench.uplink` is the long version, with a robot."""

from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path

import pytest

pytest.importorskip("obstore", reason="the package obstore (extra upload) is not installed")
from runtime.events import Events
from runtime.spool.spool import Spool
from runtime.spool.upload.sums import PART
from tests.spool.delivered import delivered
from tests.spool.namespace import uplink, why_not
from tests.spool.server import CREDENTIALS, upload
from tests.spool.test_spool_process import put
from tests.spool.weather import storm

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
SEGMENTS = 20
STORM_S, LONGEST_S = 8.0, 1.0
DRAIN_S = 120.0


async def test_whatever_happens_on_the_way_each_segment_arrives_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    for number in range(SEGMENTS):
        size = 2 * PART if number == 0 else 300_000
        put(tmp_path, f"ready/bulk/r-{number:02d}.mcap", os.urandom(size))
    with uplink() as up:
        settings = {"directory": str(tmp_path), "size_max": 10**12, "free_min": 0, "cpus": [], "robot": "r"}
        spool = Spool(Events(), settings | {"upload": upload(up.url)})
        spool.start()
        weather = await asyncio.to_thread(storm, up, STORM_S, LONGEST_S, random.Random(1))
        assert sum(weather.values()) >= 4, weather
        deadline = time.monotonic() + DRAIN_S
        while list(tmp_path.glob("ready/*/*")):
            assert time.monotonic() < deadline, spool.status
            await spool.request("send_now")
            await asyncio.sleep(0.5)
        await spool.close()
        found = delivered(tmp_path, up.url)
    assert found == {
        "segments": SEGMENTS,
        "objects": SEGMENTS + 1,
        "foreign": 0,
        "torn": 0,
        "unsent": 0,
        "twice_sent": 0,
        "corrupt": 0,
    }
