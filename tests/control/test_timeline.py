from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.control.timeline import Timeline

P = 20_000_000


def chunk(*values: float) -> np.ndarray:
    return np.array([[value] for value in values])


def at(timeline: Timeline, now_ns: int) -> float | None:
    out = np.full(1, np.nan)
    return float(out[0]) if timeline.sample(now_ns, out) else None


def test_actions_are_reached_at_their_moment_and_interpolated_between() -> None:
    timeline = Timeline(1, P, "interpolate")
    assert timeline.lay(1000, chunk(0, 1, 3), 1000) == 0.0
    assert at(timeline, 1000) == 0
    assert at(timeline, 1000 + P // 2) == pytest.approx(0.5)
    assert at(timeline, 1000 + P) == 1
    assert at(timeline, 1000 + P + P // 4) == pytest.approx(1.5)
    assert at(timeline, 1000 + 2 * P) == 3
    assert at(timeline, 1000 + 3 * P - 1) == 3, "the last action is held for its period"
    assert at(timeline, 1000 + 3 * P) is None, "then the plan has run out"


def test_hold_keeps_each_action_until_the_next() -> None:
    timeline = Timeline(1, P, "hold")
    timeline.lay(0, chunk(5, 6), 0)
    assert [at(timeline, t) for t in (0, P - 1, P, 2 * P - 1, 2 * P)] == [5, 5, 6, 6, None]


def test_a_horizon_of_one_is_held_for_two_periods() -> None:
    timeline = Timeline(1, P, "hold")
    timeline.lay(0, chunk(5), 100)
    assert at(timeline, 2 * P - 1) == 5
    assert at(timeline, 2 * P) is None


def test_a_late_chunk_is_used_from_the_action_that_is_due() -> None:
    timeline = Timeline(1, P, "hold")
    timeline.lay(0, chunk(*range(10)), now_ns=7 * P)
    assert at(timeline, 7 * P) == 7
    assert timeline.row(7 * P) == 7


def test_a_chunk_wholly_past_or_older_than_the_plan_is_refused() -> None:
    timeline = Timeline(1, P, "hold")
    assert timeline.lay(0, chunk(1, 2), now_ns=2 * P) is None
    assert timeline.empty
    assert timeline.lay(5 * P, chunk(1, 2), now_ns=5 * P) == 0.0
    assert timeline.lay(4 * P, chunk(8, 9, 10), now_ns=5 * P) is None
    assert at(timeline, 5 * P) == 1


def test_the_step_at_a_seam_is_the_difference_of_the_plans_at_that_moment() -> None:
    timeline = Timeline(2, P, "interpolate")
    timeline.lay(0, np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]), 0)
    step = timeline.lay(P, np.array([[1.0, 0.0], [2.0, 1.0]]), P + P // 2)
    assert step == pytest.approx(1.0)


def test_clear_forgets_the_plan_and_accepts_any_chunk_again() -> None:
    timeline = Timeline(1, P, "hold")
    timeline.lay(9 * P, chunk(1, 2), 9 * P)
    timeline.clear()
    assert timeline.empty
    assert at(timeline, 9 * P) is None
    assert timeline.ahead_s(0) == 0
    assert timeline.lay(P, chunk(3, 4), P) == 0.0


@given(
    horizon=st.integers(1, 64),
    delay=st.integers(0, 70 * P),
    moment=st.integers(0, 70 * P),
    between=st.sampled_from(["hold", "interpolate"]),
)
def test_any_sample_lies_between_the_actions_around_its_moment(
    horizon: int, delay: int, moment: int, between: str
) -> None:
    timeline = Timeline(1, P, between)  # type: ignore[arg-type]
    laid = timeline.lay(0, chunk(*range(horizon)), delay)
    now = max(delay, moment)
    value = at(timeline, now)
    end = max(horizon, 2) * P
    assert (laid is None) == (delay >= end)
    assert (value is None) == (laid is None or now >= end)
    if value is not None:
        due = min(now // P, horizon - 1)
        assert due <= value <= min(due + 1, horizon - 1)
        if between == "hold":
            assert value == due
        assert timeline.row(now) == due
        assert timeline.ahead_s(now) == pytest.approx((end - now) / 1e9)
