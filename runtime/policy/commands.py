"""Operator commands: named numbers that a policy follows, such as a body velocity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from drivers.state import Floats


@dataclass(frozen=True, slots=True)
class CommandRange:
    """One command: where it starts and what it may be, in the unit of the policy's observation."""

    default: float
    low: float
    high: float


class CommandError(ValueError):
    """A command that does not exist or lies outside its range. Nothing has changed."""


class Commands:
    """The values in force; set by the operator, or by a schedule while the policy runs."""

    def __init__(
        self, ranges: Mapping[str, CommandRange], schedule: Sequence[tuple[float, Mapping[str, float]]] = ()
    ) -> None:
        self._ranges = dict(ranges)
        self.names = list(ranges)
        self.values: Floats = np.array([r.default for r in ranges.values()], np.float64)
        """Values in the order of `names`, shape (commands,)."""
        self._schedule = sorted(schedule, key=lambda step: step[0])
        self._next = len(self._schedule)
        self._start_ns = 0

    def set(self, values: Mapping[str, float]) -> None:
        """Set some commands, all or none. Raises CommandError."""
        problems = []
        for name, value in values.items():
            limits = self._ranges.get(name)
            if limits is None:
                known = ", ".join(self.names) or "none: the config has no [policy.command]"
                problems.append(f"unknown command {name!r}; known: {known}")
            elif not limits.low <= value <= limits.high:
                problems.append(f"{name}={value:g} is outside {limits.low:g} .. {limits.high:g}")
        if problems:
            raise CommandError("; ".join(problems))
        for name, value in values.items():
            self.values[self.names.index(name)] = value

    def replace(
        self, ranges: Mapping[str, CommandRange], schedule: Sequence[tuple[float, Mapping[str, float]]]
    ) -> None:
        """Other ranges for the same commands, and another schedule, in force from the next `start` on.

        A command whose range has changed is at its default again.
        """
        for index, name in enumerate(self.names):
            if ranges[name] != self._ranges[name]:
                self.values[index] = ranges[name].default
        self._ranges = dict(ranges)
        self._schedule = sorted(schedule, key=lambda step: step[0])
        self._next = len(self._schedule)

    def start(self, now_ns: int) -> None:
        """Begin the schedule: its times count from now."""
        self._start_ns, self._next = now_ns, 0

    def follow_schedule(self, now_ns: int) -> None:
        """Apply the steps that are due."""
        while self._next < len(self._schedule):
            at_s, values = self._schedule[self._next]
            if now_ns - self._start_ns < at_s * 1e9:
                return
            self._next += 1
            self.set(values)

    def as_dict(self) -> dict[str, float]:
        """Name -> value in force."""
        return dict(zip(self.names, self.values.tolist(), strict=True))
