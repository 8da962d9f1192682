"""How fast the upload is while something is on its way."""

from __future__ import annotations

_OF_S = 60.0
"""The average is over about so long."""


class Rate:
    """An exponential average of bytes per second. Time is an argument, seconds on any steady clock."""

    def __init__(self) -> None:
        self.bps = 0.0
        """0 until something was sent."""
        self._since_s = 0.0
        self._bytes = 0

    def begin(self, now_s: float) -> None:
        """Something is on its way again: the pause before does not count."""
        self._since_s, self._bytes = now_s, 0

    def add(self, count: int) -> None:
        """So many bytes have arrived."""
        self._bytes += count

    def take(self, now_s: float) -> None:
        """Average what has arrived until now; nothing may have, when the server had it all before a restart."""
        took_s = max(now_s - self._since_s, 1e-3)
        if self._bytes:
            weight = min(1.0, took_s / _OF_S) if self.bps else 1.0
            self.bps += weight * (self._bytes / took_s - self.bps)
        self.begin(now_s)
