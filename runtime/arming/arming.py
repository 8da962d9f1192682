"""The arming checks together: what speaks against energising the motors now, all of it at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

Quick = Callable[[int], list[str]]
"""A check that looks at what the daemon knows already. Takes the time (CLOCK_MONOTONIC, ns)."""
Slow = Callable[[], list[str]]
"""A check that asks the system, which may wait: it runs in a thread of its own."""

FIRST_READING_S = 0.5
"""How long a daemon that has just started may take for what the quick checks look at."""
SLOW_S = 5.0
"""How long all slow checks may take together."""


class Arming:
    """Runs the checks. Each returns its failing reasons: who, what was found, what was expected, what to do."""

    def __init__(
        self,
        quick: Mapping[str, Quick],
        slow: Mapping[str, Slow],
        clock: Callable[[], int] = time.monotonic_ns,
        slow_s: float = SLOW_S,
    ) -> None:
        """Both: the checks by the names under which `reflexctl preflight` shows them."""
        self._quick = quick
        self._slow = slow
        self._clock = clock
        self._slow_s = slow_s

    async def look(self) -> dict[str, list[str]]:
        """The failing reasons of every check, by its name; none: it passes."""
        slow = await self._ask_slow()
        deadline_ns = self._clock() + round(FIRST_READING_S * 1e9)
        while any((quick := self.look_quickly(self._quick)).values()) and self._clock() < deadline_ns:
            await asyncio.sleep(0.01)
        return quick | slow

    def look_quickly(self, names: Iterable[str]) -> dict[str, list[str]]:
        """The same of some quick checks, as it is at this moment."""
        now_ns = self._clock()
        return {name: self._quick[name](now_ns) for name in names}

    async def _ask_slow(self) -> dict[str, list[str]]:
        def ask() -> dict[str, list[str]]:
            return {name: check() for name, check in self._slow.items()}

        try:
            async with asyncio.timeout(self._slow_s):
                return await asyncio.to_thread(ask)
        except TimeoutError:
            late = f"the system has not answered within {self._slow_s:g} s; look for a disk that hangs"
            return {name: [late] for name in self._slow}
