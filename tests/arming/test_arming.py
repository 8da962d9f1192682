"""The checks together: all reasons at once, a moment for a fresh daemon, and no waiting for a disk that hangs."""

from __future__ import annotations

import threading

from runtime.arming.arming import FIRST_READING_S, Arming


class Clock:
    """A clock that goes on by a tenth of a second whenever it is read."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        self.now_ns += 100_000_000
        return self.now_ns


async def test_every_check_is_asked_and_all_reasons_are_told() -> None:
    arming = Arming(
        quick={"a": lambda now_ns: ["a1", "a2"], "b": lambda now_ns: []},
        slow={"c": lambda: ["c1"], "d": list},
        clock=Clock(),
    )
    assert await arming.look() == {"a": ["a1", "a2"], "b": [], "c": ["c1"], "d": []}
    assert arming.look_quickly(("b", "a")) == {"b": [], "a": ["a1", "a2"]}


async def test_what_passes_soon_after_the_start_passes() -> None:
    clock = Clock()
    arming = Arming({"a": lambda now_ns: [] if now_ns >= 400_000_000 else ["not yet"]}, {}, clock)
    assert await arming.look() == {"a": []}


async def test_what_takes_longer_does_not() -> None:
    clock, seen = Clock(), []
    arming = Arming({"a": lambda now_ns: seen.append(now_ns) or ["never"]}, {}, clock)
    assert await arming.look() == {"a": ["never"]}
    assert seen[-1] - seen[0] <= FIRST_READING_S * 1e9 + 100_000_000
    assert len(seen) > 1


async def test_a_disk_that_hangs_is_a_refusal_of_every_slow_check() -> None:
    hangs = threading.Event()
    arming = Arming({}, {"disk": lambda: [str(hangs.wait(60))], "clock": list}, Clock(), slow_s=0.05)
    try:
        found = await arming.look()
    finally:
        hangs.set()
    assert found.keys() == {"disk", "clock"}
    assert all("has not answered within 0.05 s" in reasons[0] for reasons in found.values())
