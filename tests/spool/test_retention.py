from __future__ import annotations

import random
from pathlib import Path

import pytest

from runtime.spool.layout import Class, Entry, Reason, State
from runtime.spool.retention import Caps, next_to_go

ROOT = Path("/spool")
CAPS = Caps(100, 50)


def entry(name: str, kind: Class = Class.BULK, state: State = State.READY, kept: bool = False) -> Entry:
    return Entry(ROOT, state, kind, name, 10, kept)


ALL = [entry(f"{n}-{kind}-{state}", kind, state) for n in range(2) for kind in Class for state in State if n < 2]
HERE = [one for one in ALL if one.state in (State.READY, State.SENT)]


@pytest.mark.parametrize(("used", "free"), [(100, 50), (0, 50), (100, 999)])
def test_with_room_nothing_goes(used: int, free: int) -> None:
    assert next_to_go(HERE, used, free, CAPS) is None


def order(used: int, free: int) -> list[str]:
    here, gone = list(HERE), []
    random.Random(3).shuffle(here)
    while going := next_to_go(here, used, free, CAPS):
        gone.append(going[0].name)
        here.remove(going[0])
    return gone


def test_what_the_server_has_goes_first_then_the_least_valuable_then_the_oldest() -> None:
    expected = [
        f"{n}-{kind}-{state}"
        for state in ("sent", "ready")
        for kind in ("rejected", "bulk", "failure", "intervention", "safety")
        for n in range(2)
    ]
    assert order(used=101, free=999) == expected


def test_others_who_fill_the_disk_cost_no_unsent_safety_segment() -> None:
    gone = order(used=0, free=49)
    assert gone[-1] == "1-intervention-ready"
    assert "1-safety-sent" in gone
    assert not any("safety-ready" in name for name in gone)


def test_a_kept_one_stays_whatever_comes() -> None:
    kept = [entry("a", kept=True), entry("b", state=State.SENT, kept=True)]
    assert next_to_go(kept, 999, 0, CAPS) is None
    assert next_to_go([*kept, entry("c")], 999, 0, CAPS) == (entry("c"), Reason.SIZE_MAX)


def test_the_reason_is_told() -> None:
    assert next_to_go([entry("a")], 101, 0, CAPS) == (entry("a"), Reason.SIZE_MAX)
    assert next_to_go([entry("a")], 100, 49, CAPS) == (entry("a"), Reason.FREE_MIN)


def test_lost_ones_take_no_room() -> None:
    lost = Entry(ROOT, State.LOST, Class.BULK, "a", 10, reason=Reason.SIZE_MAX)
    assert next_to_go([lost], 999, 0, CAPS) is None
