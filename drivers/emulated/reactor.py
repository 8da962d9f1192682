"""One thread that waits for descriptors and for moments, to the microsecond."""

from __future__ import annotations

import heapq
import selectors
from collections.abc import Callable
from itertools import count
from typing import Protocol


class HasFileno(Protocol):
    """Anything with a descriptor."""

    def fileno(self) -> int:
        """The descriptor."""


class Reactor:
    """Callbacks on readable descriptors, and calls at given times.

    `select` is used because its timeout counts microseconds; epoll's counts milliseconds.
    """

    def __init__(self) -> None:
        self._selector = selectors.SelectSelector()
        self._order = count()
        self._later: list[tuple[int, int, Callable[[bytes], None], bytes]] = []
        self._ready: list[tuple[selectors.SelectorKey, int]] = []

    def watch(self, source: HasFileno | int, callback: Callable[[], None]) -> None:
        """Call back whenever the descriptor is readable."""
        self._selector.register(source, selectors.EVENT_READ, callback)

    def forget(self, source: HasFileno | int) -> None:
        """Stop watching; to be called before the descriptor is closed."""
        self._selector.unregister(source)

    def at(self, when_ns: int, call: Callable[[bytes], None], data: bytes) -> None:
        """Call with these bytes at this time; calls for the same time keep their order."""
        heapq.heappush(self._later, (when_ns, next(self._order), call, data))

    @property
    def next_ns(self) -> int | None:
        """Time of the next timed call."""
        return self._later[0][0] if self._later else None

    def wait(self, seconds: float) -> None:
        """Sleep until a descriptor is readable, at most this long."""
        self._ready = self._selector.select(seconds if seconds > 0 else 0)

    def run_due(self, now_ns: int) -> None:
        """Make the timed calls that are due."""
        later = self._later
        while later and later[0][0] <= now_ns:
            _, _, call, data = heapq.heappop(later)
            call(data)

    def run_ready(self) -> None:
        """Call back for the descriptors that the last `wait` found readable."""
        for key, _ in self._ready:
            # A callback before this one may have closed the descriptor.
            if self._selector.get_map().get(key.fd) is key:
                key.data()

    def close(self) -> None:
        """Forget everything."""
        self._later.clear()
        self._selector.close()
