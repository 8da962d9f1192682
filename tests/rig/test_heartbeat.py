"""The heartbeat line has its rate while the loop lives, and stops when the loop stalls."""

from __future__ import annotations

import itertools
from typing import Any

from tests.rig.harness import faults
from tests.rig.harness.rig import Rig

PERIOD_S = 0.2
STALL_S = 0.4


def edges(found: dict[str, Any]) -> list[float]:
    return [at for at, _, _ in found["changes"][1:]]


def test_heartbeat(rig: Rig) -> None:
    faults.faulty_daemon(rig)
    rig.arm()
    seen = edges(rig.board("watch", seconds=5.0, names=["heartbeat"]))
    rate = (len(seen) - 1) / (seen[-1] - seen[0]) / 2
    assert abs(rate * PERIOD_S - 1) < 0.1, f"{rate:.2f} Hz"
    rig.note(f"heartbeat {rate:.2f} Hz, {1 / PERIOD_S:.2f} Hz configured")

    faults.break_loop(rig, "block", 1.5)
    seen = edges(rig.board("watch", seconds=3.0, names=["heartbeat"]))
    gaps = [later - earlier for earlier, later in itertools.pairwise(seen)]
    assert max(gaps) > 1.5 - STALL_S - PERIOD_S, f"the line did not rest: {gaps}"
    rig.note(f"rests {max(gaps):.2f} s in a stall of 1.5 s, {STALL_S} s of which are allowed")
    rig.wait(lambda: rig.mode() == "FAULT", what="mode FAULT")
    rig.reset()
    faults.healthy_daemon(rig)
    rig.safe_after_start()
