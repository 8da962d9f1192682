"""One limit that a value may not stay above: the mechanism of all monitors and zones. Time is passed in."""

from __future__ import annotations

HYSTERESIS = 0.05
"""A value is below its limit again when it is this part of the limit away from it."""


class Threshold:
    """Exceeded once the value has been above the limit for a while; over once it has been well below as long.

    NaN proves nothing: what was exceeded stays so, and a time that runs towards a stop runs on.
    """

    __slots__ = ("_back", "_clear_ns", "_for_ns", "_limit", "_since_ns", "exceeded")

    def __init__(self, limit: float, for_ns: int, clear_ns: int) -> None:
        """`for_ns`, `clear_ns`: how long the value must be above the limit, or well below it, to count, ns."""
        self.exceeded = False
        self._limit = limit
        self._back = limit - HYSTERESIS * abs(limit)
        self._for_ns = for_ns
        self._clear_ns = clear_ns
        self._since_ns: int | None = None  # since when the value contradicts `exceeded`

    @property
    def idle(self) -> bool:
        """Whether a value that is not above the limit changes nothing."""
        return not self.exceeded and self._since_ns is None

    def judge(self, value: float, now_ns: int) -> bool:
        """Whether the limit is exceeded, with `value` at `now_ns`."""
        if self.exceeded:
            contradicts = value <= self._back
        else:
            contradicts = value > self._limit or (value != value and self._since_ns is not None)
        if not contradicts:
            self._since_ns = None
        else:
            if self._since_ns is None:
                self._since_ns = now_ns
            if now_ns - self._since_ns >= (self._clear_ns if self.exceeded else self._for_ns):
                self.exceeded = not self.exceeded
                self._since_ns = None
        return self.exceeded

    def forget(self) -> None:
        """Start over: not exceeded."""
        self.exceeded = False
        self._since_ns = None
