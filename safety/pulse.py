"""The heartbeat line: a square wave for a relay or a microcontroller that cuts power when it ends."""

from __future__ import annotations

import contextlib

from drivers.line import OutputLine
from safety.recovery import LINE_FAILURES, Recovery, Tell


class Pulse:
    """Toggles the line while the robot's software is alive. At rest the line is inactive.

    It has no thread: whoever calls `step` is watched by what hangs on the line.
    """

    def __init__(self, line: OutputLine, period_s: float, tell: Tell) -> None:
        """`period_s`: full period of the wave, s."""
        self.due_ns: int | None = None
        """When the next edge is due, CLOCK_MONOTONIC, ns; None at rest."""
        self._line = line
        self._half_ns = round(period_s / 2 * 1e9)
        self._level = False
        self._recovery = Recovery("the heartbeat line", line, lambda: line.set(False), tell)

    @property
    def problem(self) -> str:
        """Why the line cannot be driven; empty while it obeys."""
        return self._recovery.problem

    def step(self, now_ns: int, alive: bool) -> None:
        """Make the edge that is due; without life go to rest at once. `now_ns`: CLOCK_MONOTONIC, ns."""
        if self.problem:
            self.due_ns = None
        elif not alive:
            self.due_ns = None
            self._rest()
        elif self.due_ns is None or now_ns >= self.due_ns:
            due_ns = now_ns if self.due_ns is None else self.due_ns
            if now_ns - due_ns >= self._half_ns // 2:
                due_ns = now_ns  # a late edge moves the wave: the next one must not make a needle
            self.due_ns = due_ns + self._half_ns
            self._drive(not self._level)
        self._recovery.step(now_ns)

    def close(self) -> None:
        """Leave the line inactive and give it back. Never raises."""
        self.due_ns = None
        with contextlib.suppress(Exception):
            self._line.set(False)
        with contextlib.suppress(Exception):
            self._line.close()

    def _rest(self) -> None:
        """At rest nothing is driven, but a line that is gone has to be known: a reset would pass it over."""
        if self._level:
            self._drive(False)
            return
        try:
            self._line.check()
        except LINE_FAILURES as error:
            self._recovery.lose(error)

    def _drive(self, level: bool) -> None:
        self._level = level
        try:
            self._line.set(level)
        except LINE_FAILURES as error:
            self._level, self.due_ns = False, None
            self._recovery.lose(error)
