"""When the policy is asked, in simulated time: over all H, s and d, and under random delays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.control.seams.strategy import strategy
from runtime.control.timeline import Timeline
from runtime.control.track import Track
from runtime.policy.scheduler import Scheduler

P = 20_000_000
STEPS = np.array([True])
REPLACE = strategy("replace")


def scheduler(horizon: int = 50, execute: int = 12, margin: int = 1) -> Scheduler:
    made = Scheduler(horizon, execute, P, margin)
    made.begin(0)
    return made


class Run:
    """A policy that is asked by a scheduler, whose chunks are laid over a timeline; one step is one action.

    Action i of a chunk asked at step t is the number t + i: what is executed at step k must be k.
    """

    def __init__(self, horizon: int, execute: int, margin: int = 1) -> None:
        self.timeline = Timeline()
        self.scheduler = scheduler(horizon, execute, margin)
        self.horizon = horizon
        self.asked: list[int] = []
        self.executed: list[float] = []
        self.late: list[int] = []
        self._arrival: int | None = None
        self._out = np.empty(1)

    def step(self, delay: int) -> None:
        """`delay`: of the request, if one goes out now, actions."""
        k = len(self.executed)
        now = k * P
        self._receive(k)
        if self._arrival is None and now >= self.scheduler.due_ns:
            self.asked.append(k)
            self.scheduler.asked(now)
            self._arrival = k + delay
            self._receive(k)
        self.executed.append(float(self._out[0]) if self.timeline.sample(now, self._out) else np.nan)

    def _receive(self, k: int) -> None:
        if self._arrival is None or k < self._arrival:
            return
        self.scheduler.answered((k - self.asked[-1]) * P)
        self._arrival = None
        # From standstill it begins with its first action, as the planner has it.
        first = self.asked[-1] if self.timeline.end_ns > k * P else k
        goals = np.arange(first, first + self.horizon, dtype=float)[:, None]
        self.timeline.lay(Track(first * P, P, goals, STEPS), k * P, REPLACE)


def fits(horizon: int, execute: int, delay: int) -> bool:
    """d <= s <= H - d, with the s that it really is: one inference at a time makes it at least d."""
    return max(execute, delay) + delay <= horizon


def test_never_without_a_plan_over_all_h_s_and_d() -> None:
    """From answer to answer, in whole actions."""
    for horizon in range(1, 65):
        for execute in range(1, horizon + 1):
            for delay in range(horizon - execute + 1):
                if not fits(horizon, execute, delay):
                    continue
                one = scheduler(horizon, execute)
                free, end = 0, None
                for _ in range(4):
                    asked = max(-(-one.due_ns // P), free)
                    one.asked(asked * P)
                    one.answered(delay * P)
                    free = asked + delay
                    assert end is None or free <= end, (horizon, execute, delay)
                    assert delay < horizon, "some of the chunk is left"
                    end = (asked if end is not None else free) + horizon


@pytest.mark.parametrize("horizon", [1, 2, 3, 4, 7, 16, 33, 50, 64])
def test_every_action_in_its_turn_for_all_s_and_d(horizon: int) -> None:
    for execute in range(1, horizon + 1, 1 + horizon // 9):
        for delay in {0, 1, horizon // 3, horizon // 2, horizon - execute}:
            if not fits(horizon, execute, delay):
                continue
            run = Run(horizon, execute)
            for _ in range(3 * horizon + 2):
                run.step(delay)
            assert run.executed[delay:] == list(range(delay, len(run.executed))), (execute, delay)


def test_the_next_request_is_due_every_s_actions_or_at_the_latest_moment() -> None:
    for horizon in range(1, 65):
        for execute in range(1, horizon + 1):
            for delay in (0, 1, horizon // 3, horizon - execute, horizon, 2 * horizon):
                one = scheduler(horizon, execute)
                one.asked(0)
                one.answered(1)
                one.answered(delay * P)
                assert one.due_ns == max(1, min(execute, horizon - delay - 1)) * P


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_under_random_delays_no_action_twice_none_out_of_order_and_no_gap(data: st.DataObject) -> None:
    horizon = data.draw(st.integers(2, 64))
    execute = data.draw(st.integers(1, horizon))
    most = min(horizon - execute, horizon // 2)
    delays = st.integers(0, most)
    run = Run(horizon, execute)
    first = data.draw(delays)
    run.step(first)
    while len(run.executed) < 3 * horizon:
        run.step(data.draw(delays))
    assert run.executed[first:] == list(range(first, len(run.executed)))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_delays_beyond_the_horizon_leave_gaps_but_what_is_executed_is_due(data: st.DataObject) -> None:
    horizon = data.draw(st.integers(1, 20))
    run = Run(horizon, data.draw(st.integers(1, horizon)))
    for _ in range(120):
        run.step(data.draw(st.integers(0, 50)))
    done = [(k, value) for k, value in enumerate(run.executed) if not np.isnan(value)]
    # The last action of a horizon of 1 is held for two periods.
    assert all(value == k or (horizon == 1 and value == k - 1) for k, value in done)


def test_one_inference_at_a_time_and_the_phase_is_kept() -> None:
    run = Run(50, 12)
    for _ in range(100):
        run.step(10)
    assert run.asked == list(range(0, 100, 12))


def test_a_slow_policy_is_asked_again_as_soon_as_it_is_free() -> None:
    run = Run(50, 12)
    for _ in range(100):
        run.step(20)
    assert run.asked == [0, 20, 40, 60, 80]


def test_a_spike_is_survived_and_forgotten() -> None:
    one = scheduler()
    for delay in (3, 3, 30):
        one.answered(delay * P)
    assert one.delay == 30
    for _ in range(9):
        one.answered(3 * P)
    assert one.delay == 30, "it is among the last ten"
    one.answered(3 * P)
    assert one.delay == 3


@pytest.mark.parametrize("restart", [False, True])
def test_the_cold_start_counts_only_while_nothing_else_is_known(restart: bool) -> None:
    one = scheduler()
    assert (one.delay_ns, one.delay) == (None, 0)
    assert one.lead_ns == 13 * P, "as long as s allows it to take"
    one.answered(40 * P)
    assert one.delay == 40
    one.answered(5 * P)
    assert one.delay == 5
    assert one.lead_ns == 6 * P
    if restart:
        one.restarted()
        one.answered(45 * P)
        assert one.delay == 5, "neither does that of a worker that was started anew"
        one.answered(7 * P)
        assert one.delay == 7


def test_after_a_gap_it_begins_anew_and_does_not_catch_up() -> None:
    one = scheduler()
    one.asked(0)
    one.asked(40 * P)
    assert one.due_ns == 52 * P
    one.begin(100 * P)
    assert one.due_ns == 100 * P
