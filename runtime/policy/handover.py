"""Which of two policies moves the robot: when the fallback takes over and gives back. Time is an argument."""

from __future__ import annotations


class Handover:
    """What is known of the first policy's answers, and what follows from it."""

    def __init__(self, after_ns: int | None, stable_ns: int, gap_ns: int) -> None:
        """`after_ns`: a silence of the first policy after which the fallback takes over; None: at its plan's end.

        `stable_ns`: so long it must have answered before it gets the robot back. `gap_ns`: a longer silence ends
        the time for which it has answered; `after_ns`, where that is given.
        """
        self._after_ns = after_ns
        self._stable_ns = stable_ns
        self._gap_ns = after_ns if after_ns is not None else gap_ns
        self._answered_ns = 0
        self._since_ns: int | None = None

    def begin(self, now_ns: int) -> None:
        """A run begins."""
        self._answered_ns = now_ns
        self._since_ns = None

    def answered(self, now_ns: int) -> None:
        """The first policy has answered, with a chunk that is of use or comes too late."""
        if self._since_ns is None or now_ns - self._answered_ns > self._gap_ns:
            self._since_ns = now_ns
        self._answered_ns = now_ns

    def lost(self) -> None:
        """The first policy is not there."""
        self._since_ns = None

    def silent(self, now_ns: int) -> bool:
        """Whether it has been silent for so long that the fallback takes over, whatever is left of its plan."""
        return self._after_ns is not None and now_ns - self._answered_ns >= self._after_ns

    def stable(self, now_ns: int) -> bool:
        """Whether it has answered for so long that it gets the robot back."""
        return self._since_ns is not None and now_ns - self._since_ns >= self._stable_ns
