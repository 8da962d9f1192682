"""The gate: the one switch between the tick and the motors' goals."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Gate:
    """Closed from the start. The supervisor permits, the loop opens, anybody closes.

    The tick reads `is_open`, a plain attribute, and sends goals only while it is true. Closing takes back the
    permission, so whatever closes the gate between `permit` and `open` wins.
    """

    __slots__ = ("_clock", "_lock", "_permitted", "closed_ns", "is_open", "reason")

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.is_open = False
        self.reason = "never opened"
        """Why the gate was closed; of several reasons the first."""
        self.closed_ns = clock()
        """When it was closed, CLOCK_MONOTONIC, ns."""
        self._permitted = False
        self._lock = threading.Lock()
        self._clock = clock

    def permit(self) -> None:
        """Allow `open` until the next `close`. For the supervisor only."""
        with self._lock:
            self._permitted = True

    def open(self) -> bool:
        """Open the gate. Returns False, and leaves it closed, without the supervisor's permission."""
        with self._lock:
            if not self._permitted:
                return False
            self.is_open = True
            return True

    def close(self, reason: str) -> None:
        """Close the gate and take back the permission. Callable from any thread, at any time, again and again."""
        with self._lock:
            if self.is_open or self._permitted:
                self.reason = reason
                self.closed_ns = self._clock()
            self.is_open = False
            self._permitted = False
