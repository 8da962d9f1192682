"""The heartbeat: what the control loop tells the supervisor, every tick."""

from __future__ import annotations

from enum import IntFlag
from typing import NamedTuple


class LoopState(IntFlag):
    """What the loop says about itself, besides that it is alive."""

    ENERGISED = 1
    """The loop takes the motors to be energised."""
    FAULT = 2
    """The loop has found a fault and stops the robot by itself."""
    HOLDING = 4
    """The command stands still and nothing that the loop follows can move it."""


class Beat(NamedTuple):
    """One beat."""

    tick: int
    now_ns: int
    """When the tick began, CLOCK_MONOTONIC, ns."""
    state: int
    """`LoopState` bits."""
    silence_ns: int
    """Longest time between two beats since the one that the supervisor saw last, ns."""


class Heartbeat:
    """Written by the loop, read by the supervisor, without a lock: one assignment publishes a whole beat."""

    __slots__ = ("last", "seen")

    def __init__(self) -> None:
        self.last: Beat | None = None
        """The last beat; None while no beat is expected: before the loop's first one and after `finish`."""
        self.seen: Beat | None = None
        """Set by the supervisor: the beat that it has looked at."""

    def beat(self, tick: int, now_ns: int, state: int) -> None:
        """The loop is alive. From the first beat on, the supervisor expects more. `state`: `LoopState` bits."""
        last, silence_ns = self.last, 0
        if last is not None:
            silence_ns = now_ns - last.now_ns
            # One that lets no thread run may end with a beat before the supervisor gets to look.
            if last is not self.seen and last.silence_ns > silence_ns:
                silence_ns = last.silence_ns
        self.last = Beat(tick, now_ns, state, silence_ns)

    def finish(self) -> None:
        """The loop ends on purpose: no more beats are expected."""
        self.last = None
