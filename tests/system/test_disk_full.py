"""A small disk of its own, filled to the brim while a real robot records: control goes on, the count is exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from runtime.spool.files import Files
from runtime.spool.layout import Class, State, folders
from tests.spool.small_disk import fill, small_disk, why_not

pytestmark = pytest.mark.system

SIZE = 32_000_000
EACH = 1_000_000
FREE_MIN = 4_000_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    if trouble := why_not():
        pytest.skip(trouble)
    with small_disk(tmp_path, SIZE) as mounted:
        yield mounted


def segments(root: Path) -> dict[str, int]:
    """What waits there: names and sizes."""
    found = {}
    for path in root.glob("ready/*/*.mcap"):
        with suppress(FileNotFoundError):  # it goes while we look
            found[path.stem] = path.stat().st_size
    return found


def test_a_disk_that_others_fill_costs_recordings_and_not_control(
    make_rig: Callable[..., Any], disk: Path
) -> None:
    root = disk / "recordings"
    Files().prepare(folders(root))
    for kind in Class:
        for state in (State.READY, State.SENT):
            for number in range(2):
                (root / state / kind / f"{kind}-{state}-{number}.mcap").write_bytes(bytes(EACH))
    before = segments(root)
    rig = make_rig(
        f'recording.directory="{root}"', f"spool.free_min={FREE_MIN / 1e9}", "safety.arming.disk_free=0.0"
    )
    rig.run_policy()

    def is_full() -> bool:
        fill(disk / "filler")  # it takes what the spool gives back, too
        return {"spool.no_room", "recording.failed"} <= set(rig.events())

    rig.wait(is_full, 60.0, "the disk is full, and the spool and the recorder say so")
    failed = next(event for event in rig.told() if event["name"] == "recording.failed")
    assert "No space left" in failed["message"]
    assert rig.status()["mode"] == "AUTO"
    assert all(rig.moving()), "control goes on"

    lost = [event["fields"] for event in rig.told() if event["name"] == "spool.lost"]
    kinds = (Class.REJECTED, Class.BULK, Class.FAILURE, Class.INTERVENTION)
    expected = [f"{kind}-ready-{number}" for kind in kinds for number in range(2)]
    # What the recorder itself leaves becomes ready in between.
    assert [event["segment"] for event in lost if event["segment"] in before] == expected, (
        "the least valuable first"
    )
    assert not list(root.glob("sent/*/*")), "what the server has went before"
    here = segments(root)
    assert here.keys() >= {"safety-ready-0", "safety-ready-1"}, "unsent incidents stay"
    spool = rig.daemon.request("spool")
    assert sum(count["segments"] for count in spool["lost"].values()) == len(lost)
    assert sum(count["bytes"] for count in spool["lost"].values()) == sum(event["bytes"] for event in lost)
    assert {event["segment"] for event in lost} >= before.keys() - here.keys()

    (disk / "filler").unlink()
    rig.wait(lambda: not rig.status()["recording"]["failed"], 60.0, "recording goes on when there is room")
