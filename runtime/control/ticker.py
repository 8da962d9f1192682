"""The ticker: calls the control loop at absolute deadlines that never drift."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable

from drivers import timerfd
from runtime.control.histogram import Histogram

DEFER_NS = 20_000_000
"""Work is deferred to the end of a tick only where ticks are more frequent than this."""
CALM = 0.15
"""In this last part of a period before a deadline nothing is begun that can wait: it would make the tick late."""
MIN_GAP = 0.25
"""A tick starts at least this part of a period after the one before: the buses need the time to answer."""


class Ticks:
    """Which tick is due: pure arithmetic over deadlines `origin + k * period`.

    An overrun skips the deadlines that it missed and counts them. Two ticks never run back to back: one whose
    predecessor began too late waits until `resume_ns`.
    """

    __slots__ = (
        "_calm_ns",
        "_last_start_ns",
        "_min_gap_ns",
        "lateness",
        "missed",
        "number",
        "origin_ns",
        "period_ns",
        "waits",
    )

    def __init__(self, origin_ns: int, period_ns: int) -> None:
        self.origin_ns = origin_ns
        self.period_ns = period_ns
        self.number = -1
        """The last deadline that has passed."""
        self.waits = False
        """Whether the tick of the last deadline has yet to run."""
        self.missed = 0
        """Deadlines for which no tick ran."""
        self.lateness = Histogram()
        """From the first deadline that a tick serves to its start."""
        self._calm_ns = round(period_ns * CALM)
        self._min_gap_ns = round(period_ns * MIN_GAP)
        self._last_start_ns = origin_ns - period_ns

    @property
    def resume_ns(self) -> int:
        """When a tick that waits may run."""
        return self._last_start_ns + self._min_gap_ns

    def passed(self, expirations: int, now_ns: int) -> int | None:
        """Tell that `expirations` deadlines passed. Returns the tick to run now, or None: it has to wait."""
        self.missed += expirations - 1 + self.waits
        self.waits = True
        first, self.number = self.number + 1, self.number + expirations
        if now_ns < self.resume_ns:
            return None
        return self._begin(first, now_ns)

    def resume(self, now_ns: int) -> int | None:
        """Tell that `resume_ns` has come. Returns the tick to run now, None when no tick waits any more."""
        return self._begin(self.number, now_ns) if self.waits else None

    def _begin(self, first: int, now_ns: int) -> int:
        self.waits = False
        self.lateness.add(now_ns - self.deadline_ns(first))
        self._last_start_ns = now_ns
        return self.number

    def deadline_ns(self, tick: int) -> int:
        """Deadline of a tick, CLOCK_MONOTONIC ns."""
        return self.origin_ns + tick * self.period_ns

    def near(self, now_ns: int) -> bool:
        """Whether the next deadline is near, or has come already."""
        return self.deadline_ns(self.number + 1) - now_ns < self._calm_ns


class Ticker:
    """Drives the control loop from timers through the running event loop.

    `on_tick(tick, deadline_ns, now_ns)` at every deadline, and `on_alarm(now_ns)` once for each `set_alarm`.
    """

    def __init__(
        self, period_ns: int, on_tick: Callable[[int, int, int], None], on_alarm: Callable[[int], None]
    ) -> None:
        self.period_ns = period_ns
        self.ticks = Ticks(time.monotonic_ns() + period_ns, period_ns)
        self._on_tick = on_tick
        self._on_alarm = on_alarm
        self._timer = self._alarm = self._late = -1
        self._deferred: deque[Callable[[], object]] = deque()

    def start(self) -> None:
        """Begin one period from now."""
        self.ticks = Ticks(time.monotonic_ns() + self.period_ns, self.period_ns)
        self._timer, self._alarm, self._late = (timerfd.open_timer() for _ in range(3))
        timerfd.set_timer(self._timer, self.ticks.origin_ns, self.period_ns)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._timer, self._tick)
        loop.add_reader(self._alarm, self._ring)
        loop.add_reader(self._late, self._resume)

    def set_alarm(self, at_ns: int) -> None:
        """Call `on_alarm` at `at_ns` (CLOCK_MONOTONIC); a later call takes the place of one that has not rung."""
        timerfd.set_timer(self._alarm, at_ns)

    def after_tick(self, work: Callable[[], object]) -> None:
        """Do a short piece of work right after a tick, when the next one is furthest away: one piece each tick."""
        if self._timer >= 0 and self.period_ns <= DEFER_NS:
            self._deferred.append(work)
        else:
            asyncio.get_running_loop().call_soon(work)

    def between_ticks(self, work: Callable[[], object]) -> None:
        """Do a short piece of work now, or, when the next deadline is near, right after its tick."""
        runs = self._timer >= 0 and self.period_ns <= DEFER_NS
        if runs and self.ticks.near(time.monotonic_ns()):
            self._deferred.appendleft(work)
        else:
            work()

    def stop(self) -> None:
        """End; no tick and no alarm afterwards."""
        while self._deferred:
            asyncio.get_running_loop().call_soon(self._deferred.popleft())
        for fd in (self._timer, self._alarm, self._late):
            if fd >= 0:
                asyncio.get_running_loop().remove_reader(fd)
                os.close(fd)
        self._timer = self._alarm = self._late = -1

    def _tick(self) -> None:
        passed = timerfd.expirations(self._timer)
        if passed:
            now_ns = time.monotonic_ns()
            tick = self.ticks.passed(passed, now_ns)
            if tick is None:
                timerfd.set_timer(self._late, self.ticks.resume_ns)
            else:
                self._run(tick, now_ns)

    def _resume(self) -> None:
        if timerfd.expirations(self._late):
            now_ns = time.monotonic_ns()
            tick = self.ticks.resume(now_ns)
            if tick is not None:
                self._run(tick, now_ns)

    def _run(self, tick: int, now_ns: int) -> None:
        self._on_tick(tick, self.ticks.deadline_ns(tick), now_ns)
        if self._deferred:
            self._deferred.popleft()()

    def _ring(self) -> None:
        if timerfd.expirations(self._alarm):
            self._on_alarm(time.monotonic_ns())
