from __future__ import annotations

import asyncio
import itertools
import time

import pytest
import uvloop

from runtime.control.ticker import Ticker, Ticks

PERIOD = 1000
PERIOD_NS = 20_000_000


def test_ticks_are_numbered_by_deadline() -> None:
    ticks = Ticks(origin_ns=5000, period_ns=PERIOD)
    assert [ticks.passed(1, 5000 + k * PERIOD + 7) for k in range(3)] == [0, 1, 2]
    assert ticks.deadline_ns(2) == 7000
    assert ticks.missed == 0
    assert ticks.lateness.max_ns == 7


def test_an_overrun_skips_and_counts_the_deadlines_it_missed() -> None:
    ticks = Ticks(0, PERIOD)
    assert ticks.passed(1, 0) == 0
    assert ticks.passed(3, 3100) == 3
    assert ticks.missed == 2
    assert ticks.lateness.max_ns == 2100, "lateness counts from the first deadline that was missed"


def test_two_ticks_never_run_back_to_back() -> None:
    ticks = Ticks(0, PERIOD)
    assert ticks.passed(1, 950) == 0
    assert ticks.passed(1, 1000) is None, "only 50 ns after the tick before"
    assert ticks.resume_ns == 1200
    assert ticks.resume(1210) == 1
    assert ticks.missed == 0, "it ran, if late"
    assert ticks.lateness.max_ns == 950
    assert ticks.passed(1, 2000) == 2
    assert ticks.resume(2010) is None, "nothing waits any more"


def test_a_tick_that_waits_too_long_is_missed() -> None:
    ticks = Ticks(0, PERIOD)
    assert ticks.passed(1, 950) == 0
    assert ticks.passed(1, 1000) is None
    assert ticks.passed(1, 2000) == 2
    assert ticks.missed == 1
    assert ticks.resume(2010) is None


def test_deadlines_do_not_drift_over_a_million_ticks() -> None:
    ticks = Ticks(123, PERIOD)
    ticks.number = 10**6 - 1
    assert ticks.passed(1, 123 + 10**6 * PERIOD) == 10**6


def test_ticker_calls_back_at_absolute_deadlines_on_uvloop() -> None:
    seen: list[tuple[int, int, int]] = []
    alarms: list[int] = []
    after: list[tuple[str, int]] = []

    async def run() -> Ticker:
        done = asyncio.Event()

        def on_tick(number: int, deadline: int, now: int) -> None:
            seen.append((number, deadline, now))
            if number >= 20 and len(after) == 2:  # a busy machine skips ticks
                done.set()

        ticker = Ticker(1_000_000, on_tick, alarms.append)
        ticker.start()
        alarm_at = ticker.ticks.origin_ns + 500_000
        ticker.set_alarm(alarm_at)
        for name in "ab":
            ticker.after_tick(lambda name=name: after.append((name, len(seen))))  # type: ignore[misc]
        await asyncio.wait_for(done.wait(), 10)
        ticker.stop()
        count = len(seen)
        await asyncio.sleep(0.01)
        assert len(seen) == count, "no tick after stop"
        assert len(alarms) == 1, "an alarm rings once"
        assert alarms[0] >= alarm_at
        assert after == [("a", 1), ("b", 2)], "one piece of work after each tick"
        return ticker

    ticker = uvloop.run(run())
    for number, deadline, now in seen:
        assert deadline == ticker.ticks.origin_ns + number * 1_000_000
        assert now >= deadline
    assert len(seen) + ticker.ticks.missed == seen[-1][0] + 1


def test_a_deadline_is_near_in_the_last_part_of_its_period_and_when_it_has_come() -> None:
    ticks = Ticks(0, 1000)
    assert not ticks.near(-150)
    assert ticks.near(-149)
    assert ticks.near(20), "it has come, and its tick has not begun"
    ticks.passed(1, 30)
    assert not ticks.near(30)
    assert not ticks.near(849)
    assert ticks.near(851)


@pytest.mark.parametrize("near", [False, True])
def test_work_between_ticks_waits_for_a_tick_that_is_near(monkeypatch: pytest.MonkeyPatch, near: bool) -> None:
    order: list[str] = []

    async def run() -> None:
        done = asyncio.Event()
        ticker = Ticker(5_000_000, lambda number, deadline, now: order.append("tick"), lambda now: None)
        ticker.start()
        monkeypatch.setattr(Ticks, "near", lambda self, now_ns: near)
        ticker.after_tick(done.set)
        ticker.between_ticks(lambda: order.append("work"))
        await asyncio.wait_for(done.wait(), 10)
        ticker.stop()

    uvloop.run(run())
    assert order[:2] == (["tick", "work"] if near else ["work", "tick"])


def test_work_between_ticks_is_done_at_once_where_no_tick_will_come() -> None:
    ticker = Ticker(5_000_000, lambda number, deadline, now: None, lambda now: None)
    done: list[int] = []
    ticker.between_ticks(lambda: done.append(1))
    assert done


def test_a_tick_after_a_late_one_runs_late_and_is_not_lost() -> None:
    starts: list[int] = []

    async def run() -> Ticker:
        done = asyncio.Event()

        def on_tick(number: int, deadline: int, now: int) -> None:
            starts.append(now)
            if number == 5:
                # Into the last quarter of the next period: the tick after it is too close.
                while time.monotonic_ns() < deadline + 1.9 * PERIOD_NS:
                    pass
            if number >= 12:
                done.set()

        ticker = Ticker(PERIOD_NS, on_tick, lambda now: None)
        ticker.start()
        await asyncio.wait_for(done.wait(), 10)
        ticker.stop()
        return ticker

    uvloop.run(run())
    assert min(later - earlier for earlier, later in itertools.pairwise(starts)) >= PERIOD_NS // 4
