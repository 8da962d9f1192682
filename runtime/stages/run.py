"""The clock of a run: how long the robot has worked at its stage without a safety event. Time is an argument."""

from __future__ import annotations


class Run:
    """Adds up time between two looks at which the robot worked. It never counts more than there was."""

    def __init__(self, needed_ns: int) -> None:
        """`needed_ns`: length of a whole run, ns."""
        self.needed_ns = needed_ns
        self.elapsed_ns = 0
        """So long the run has lasted, ns."""
        self.broken_by = ""
        """The safety event that has begun it anew; empty while there was none."""
        self._worked_ns: int | None = None

    @property
    def complete(self) -> bool:
        """Whether it has lasted long enough."""
        return self.elapsed_ns >= self.needed_ns

    def look(self, now_ns: int, works: bool) -> None:
        """Call often. `now_ns`: CLOCK_MONOTONIC, ns; `works`: the robot works at its stage at this moment."""
        if works and self._worked_ns is not None:
            self.elapsed_ns += max(0, now_ns - self._worked_ns)
        self._worked_ns = now_ns if works else None

    def begin_anew(self, broken_by: str = "") -> None:
        """Forget the time so far. `broken_by`: a safety event, in words."""
        self.elapsed_ns = 0
        self.broken_by = broken_by
        self._worked_ns = None
