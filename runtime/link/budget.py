"""A token bucket: how much of something a client may have, and how long it waits for more."""

from __future__ import annotations


class TokenBucket:
    """Fills at `rate` tokens per second up to `burst`; time is an argument, seconds on any steady clock.

    Whoever finds at least one token may take more than there are: the debt is paid by waiting longer, so that a
    request of any size passes and none is free.
    """

    __slots__ = ("_burst", "_filled_at", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._filled_at = now

    def wait(self, now: float) -> float:
        """Seconds until something may be taken; 0 when it may be taken now."""
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        return 0.0 if self._tokens >= 1.0 else (1.0 - self._tokens) / self._rate

    def take(self, cost: float) -> None:
        """Take `cost` tokens; ask `wait` first."""
        self._tokens -= cost
