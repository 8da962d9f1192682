from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("obstore", reason="the package obstore (extra upload) is not installed")
from tests.spool.kills import BAD, kill_at_random

KILLS = 20
"""`make bench-spool` does 500."""


async def test_killed_at_random_no_tick_is_lost_and_each_segment_is_sent_once(tmp_path: Path) -> None:
    found = await kill_at_random(tmp_path, KILLS, seed=1)
    assert not any(found[name] for name in BAD), found
    assert found["segments"] >= KILLS / 3, found
