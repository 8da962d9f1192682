"""How long to wait before the next restart: a pure function of what happened and when."""

from __future__ import annotations


class Backoff:
    """Doubles the wait from `first_s` to `longest_s`; `healthy_s` of good service make it start over."""

    __slots__ = ("_first_s", "_healthy_ns", "_longest_s", "_next_s", "_ready_ns")

    def __init__(self, first_s: float = 0.2, longest_s: float = 5.0, healthy_s: float = 10.0) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._healthy_ns = int(healthy_s * 1e9)
        self._next_s = first_s
        self._ready_ns: int | None = None

    def ready(self, now_ns: int) -> None:
        """Service began."""
        self._ready_ns = now_ns

    def failed(self, now_ns: int) -> float:
        """Service, or the attempt to begin it, failed: seconds to wait before the next attempt."""
        if self._ready_ns is not None and now_ns - self._ready_ns >= self._healthy_ns:
            self._next_s = self._first_s
        self._ready_ns = None
        wait_s = self._next_s
        self._next_s = min(2 * wait_s, self._longest_s)
        return wait_s
