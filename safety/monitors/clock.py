"""Steps of the wall clock. Nothing that moves looks at it, but the times in recordings and logs do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from safety.action import Action
from safety.watch import Clear, Flag

STANDS_NS = 10_000_000_000
"""How long the warning of a step stands, ns."""


class ClockSteps:
    """Compares CLOCK_REALTIME with CLOCK_MONOTONIC from check to check; a step is a warning, never more.

    A suspended machine looks like a step as well: its monotonic clock stands still meanwhile. A clock that is
    slewed (adjtime(3), at most 0.05 %) is no step.
    """

    def __init__(
        self,
        step_ns: int,
        monotonic: Callable[[], int] = time.monotonic_ns,
        realtime: Callable[[], int] = time.time_ns,
    ) -> None:
        """`step_ns`: smallest step that is told, ns."""
        self._step_ns = step_ns
        self._monotonic = monotonic
        self._realtime = realtime
        self._offset_ns: int | None = None
        self._until_ns = 0
        self._flags: Sequence[Flag] = ()

    def look(self, now_ns: int) -> Sequence[Flag]:
        """The newest step, for a while."""
        before_ns, wall_ns, after_ns = self._monotonic(), self._realtime(), self._monotonic()
        # Somebody else ran between the two clocks: their distance is not known this time.
        if after_ns - before_ns < self._step_ns // 2:
            offset_ns = wall_ns - before_ns
            moved_ns = 0 if self._offset_ns is None else offset_ns - self._offset_ns
            self._offset_ns = offset_ns
            if abs(moved_ns) >= self._step_ns:
                self._until_ns = now_ns + STANDS_NS
                text = (
                    f"the wall clock was set {'forward' if moved_ns > 0 else 'back'} by "
                    f"{abs(moved_ns) / 1e9:.3g} s: times in recordings and logs do not fit across this moment"
                )
                self._flags = (Flag("clock_step", Action.WARN, Clear.GONE, text),)
        if now_ns >= self._until_ns:
            self._flags = ()
        return self._flags
