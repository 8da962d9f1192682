"""Whose content goes over the link next."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runtime.link.budget import TokenBucket

Rank = tuple[int, str]
"""The smaller goes first: the more valuable class, then the older name."""
_AT_ONCE = 2
"""One on its way while the server answers for the other. More would only share the link, and take more memory."""


class Turns:
    """A few contents at a time, in the order of their ranks, and on average no faster than a rate."""

    def __init__(self, rate_bps: float | None) -> None:
        """`rate_bps`: bytes per second; None: as fast as they go."""
        self._bucket = None if rate_bps is None else TokenBucket(rate_bps, rate_bps, time.monotonic())
        self._free = _AT_ONCE
        self._numbers = itertools.count()
        self._waiting: list[tuple[Rank, int, int, asyncio.Future[None]]] = []
        """A heap: rank, number (which decides between equals), bytes, and what is done when its turn has come."""

    @asynccontextmanager
    async def turn(self, rank: Rank, size: int) -> AsyncIterator[None]:
        """Wait until `size` bytes may go, and go."""
        mine = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (rank, next(self._numbers), size, mine))
        self._admit()
        try:
            await mine
            yield
        finally:
            if not mine.cancelled():  # else it never had its turn
                self._free += 1
            self._admit()

    def _admit(self) -> None:
        while self._free and self._waiting:
            _, _, size, first = self._waiting[0]
            if not first.cancelled():
                if self._bucket is not None:
                    if wait_s := self._bucket.wait(time.monotonic()):
                        # Whoever comes first then: perhaps somebody who is not here yet.
                        asyncio.get_running_loop().call_later(wait_s, self._admit)
                        return
                    self._bucket.take(size)
                self._free -= 1
                first.set_result(None)
            heapq.heappop(self._waiting)
