"""How long the policy takes: few numbers, and none that remembers a bad moment for ever."""

from __future__ import annotations

from collections import deque


class Latency:
    """Last value, largest of the recent ones, and how many there were."""

    __slots__ = ("_recent", "count", "last_ns")

    def __init__(self, window: int = 10) -> None:
        self.last_ns = 0
        self.count = 0
        self._recent: deque[int] = deque(maxlen=window)

    def add(self, latency_ns: int) -> None:
        """Take one measurement, ns."""
        self.last_ns = latency_ns
        self.count += 1
        self._recent.append(latency_ns)

    @property
    def recent_max_ns(self) -> int:
        """Largest of the last ten, ns; 0 before the first. The start of a run is forgotten after ten more."""
        return max(self._recent, default=0)
