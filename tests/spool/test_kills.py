from __future__ import annotations

from pathlib import Path

from tests.spool.kills import kill_at_random

KILLS = 20
"""`make bench-spool` does 500."""


async def test_killed_at_random_no_tick_is_lost(tmp_path: Path) -> None:
    found = await kill_at_random(tmp_path, KILLS, seed=1)
    assert (found["missing"], found["dropped"]) == (0, 0), found
    assert found["segments"] >= KILLS / 3, found
