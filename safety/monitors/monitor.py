"""The watch that all monitors and zones are: values that are measured now, each against two limits.

A monitor is made of a source, which says what is measured, and of limits. What is measured is read on the safety
thread while the loop's thread fills the arrays in place. Each element is written at once, and two elements may
come from two neighbouring readings. That is harmless: the values of one tick's difference are as true as a
reading that is one tick old, and what lasts shows in the next check again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from drivers.state import Floats
from safety.action import Action
from safety.gate import Gate
from safety.monitors.threshold import Threshold
from safety.watch import Clear, Flag

Source = Callable[[int], Floats]
"""What is measured at a time (CLOCK_MONOTONIC, ns), one value for each label; NaN where it is not known. Called at
every check while the monitor looks; never waits, never raises."""


class Level(IntEnum):
    """How bad a value is."""

    FINE = 0
    NEAR = 1
    """Beyond the first limit."""
    STOP = 2
    """Beyond the second limit."""
    UNKNOWN = 3
    """Not known for too long: as bad as beyond the second limit, but nothing says that power must go at once."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one value is compared with, and what follows. A limit of None is never exceeded."""

    near: float | None
    stop: float | None
    near_action: Action
    stop_action: Action
    clear: Clear
    """What takes a stop away; beyond the first limit the flag goes when its cause is gone."""
    for_ns: int
    """How long a limit must be exceeded to count, ns."""
    clear_ns: int
    """How long the value must be well within the limit again, ns."""
    unknown_ns: int
    """How long a value may be unknown, ns."""


@dataclass(frozen=True, slots=True)
class Words:
    """What a value is, for people."""

    quantity: str
    """`velocity of {}`, with the label's place."""
    unit: str
    unknown: str
    """Why a value may be unknown, and what to do."""
    least: bool = False
    """The limits are the least that is allowed, not the most."""


class Monitor:
    """Compares the values of one source with their limits."""

    def __init__(
        self,
        name: str,
        labels: Sequence[str],
        source: Source,
        limits: Sequence[Limits],
        words: Words,
        gate: Gate | None = None,
    ) -> None:
        """`labels`: of the values, in the source's order; their flags are called `name.label`.

        `gate`: look only while it is open, for what has a meaning only while the motors are commanded.
        """
        self._source = source
        self._gate = gate
        self._judges = [
            _Judge(f"{name}.{label}", label, limit, words) for label, limit in zip(labels, limits, strict=True)
        ]
        self._least = words.least
        self._lowest: Floats = np.array([judge.lowest for judge in self._judges])
        self._idle = True
        self._flags: list[Flag] = []

    def look(self, now_ns: int) -> Sequence[Flag]:
        """What stands at `now_ns`."""
        if self._gate is not None and not self._gate.is_open:
            if not self._idle:
                for judge in self._judges:
                    judge.forget()
                self._idle, self._flags = True, []
            return self._flags
        values = self._source(now_ns)
        if self._least:
            values = -values
        # Nearly always: all are known and fine. NaN compares false.
        if self._idle and (values <= self._lowest).all():
            return self._flags
        idle, flags = True, []
        for judge, value in zip(self._judges, values.tolist(), strict=True):
            flag = judge.judge(value, now_ns)
            idle = idle and judge.idle
            if flag is not None:
                flags.append(flag)
        self._idle, self._flags = idle, flags
        return flags


class _Judge:
    """One value's limits and its flag. For limits that are the least allowed, everything has its sign turned."""

    __slots__ = ("_flag", "_label", "_level", "_limits", "_name", "_near", "_stop", "_unknown", "_words", "lowest")

    def __init__(self, name: str, label: str, limits: Limits, words: Words) -> None:
        self._name, self._label, self._limits, self._words = name, label, limits, words
        near, stop = (
            math.inf if limit is None else -limit if words.least else limit for limit in (limits.near, limits.stop)
        )
        self.lowest = min(near, stop)
        """A known value that is not above this changes nothing while `idle`."""
        self._near = Threshold(near, limits.for_ns, limits.clear_ns)
        self._stop = Threshold(stop, limits.for_ns, limits.clear_ns)
        self._unknown = Threshold(0.5, limits.unknown_ns, limits.clear_ns)
        self._level = Level.FINE
        self._flag: Flag | None = None

    @property
    def idle(self) -> bool:
        return self._near.idle and self._stop.idle and self._unknown.idle

    def judge(self, value: float, now_ns: int) -> Flag | None:
        near, stop = self._near.judge(value, now_ns), self._stop.judge(value, now_ns)
        unknown = self._unknown.judge(1.0 if value != value else 0.0, now_ns)
        level = Level.UNKNOWN if unknown else Level.STOP if stop else Level.NEAR if near else Level.FINE
        if level is not self._level:
            self._level, self._flag = level, self._made(level, value)
        return self._flag

    def forget(self) -> None:
        for threshold in (self._near, self._stop, self._unknown):
            threshold.forget()
        self._level, self._flag = Level.FINE, None

    def _made(self, level: Level, value: float) -> Flag | None:
        """The flag of a level that has just been reached. Its text stays, whatever the value does afterwards."""
        if level is Level.FINE:
            return None
        limits, words = self._limits, self._words
        limit, action, clear = limits.stop, limits.stop_action, limits.clear
        if level is Level.NEAR or limits.stop is None:
            limit, action, clear = limits.near, limits.near_action, Clear.GONE
        quantity = words.quantity.format(self._label)
        if level is Level.UNKNOWN:
            action = min(action, Action.CONTROLLED_STOP)
            text = f"{quantity} is not known: {words.unknown}"
        else:
            bound = "at least" if words.least else "at most"
            found = -value if words.least else value
            text = f"{quantity} is {found:.3g} {words.unit}, {bound} {limit:g} {words.unit} is allowed"
        return Flag(self._name, action, clear, text)
