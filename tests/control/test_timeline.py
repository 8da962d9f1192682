from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.control.seams.strategy import strategy
from runtime.control.timeline import Timeline
from runtime.control.track import Track

P = 20_000_000
REPLACE, BLEND = strategy("replace"), strategy("blend", 0.1)
STEPS = np.array([True])


def track(*values: float, t0_ns: int = 0, held: np.ndarray | None = None, by: str = "policy") -> Track:
    return Track(t0_ns, P, np.array([[value] for value in values], float), held, by)


def at(timeline: Timeline | Track, now_ns: int) -> float | None:
    out = np.full(1, np.nan)
    return float(out[0]) if timeline.sample(now_ns, out) else None


def test_actions_are_reached_at_their_moment_and_held_for_a_period_at_the_end() -> None:
    timeline = Timeline()
    assert timeline.lay(track(0, 1, 3, t0_ns=1000), 1000, REPLACE) is not None
    assert at(timeline, 1000) == 0
    assert at(timeline, 1000 + P) == 1
    assert at(timeline, 1000 + 2 * P) == 3
    assert at(timeline, 1000 + 3 * P - 1) == 3, "the last action is held for its period"
    assert at(timeline, 1000 + 3 * P) is None, "then the plan has run out"


def test_a_plan_of_constant_speed_is_a_straight_line() -> None:
    line = track(*(0.1 * np.arange(6)))
    for part in np.linspace(0, 5, 41):
        assert at(line, round(part * P)) == pytest.approx(0.1 * part)
        assert line.motion(round(part * P * 0.99))[1, 0] == pytest.approx(5.0)


@given(st.lists(st.floats(-3, 3, width=32), min_size=3, max_size=12), st.floats(0.01, 0.99))
def test_between_actions_it_is_continuous_in_speed_and_never_goes_beyond_them(
    values: list[float], part: float
) -> None:
    curve = track(*values)
    for row in range(len(values) - 1):
        low, high = sorted(values[row : row + 2])
        value = at(curve, round((row + part) * P))
        assert value is not None
        assert low - 1e-12 <= value <= high + 1e-12
    for row in range(1, len(values) - 1):
        before, after = curve.motion(row * P - 1)[1], curve.motion(row * P)[1]
        assert before == pytest.approx(after, abs=1e-4), "no kink at an action"
    rows = curve.rows(0, P // 2, 2 * len(values) - 1)[:, 0]
    assert rows == pytest.approx([at(curve, k * P // 2) for k in range(2 * len(values) - 1)])


def test_what_is_held_keeps_each_action_until_the_next() -> None:
    gripper = Track(0, P, np.array([[0.0, 5.0], [1.0, 6.0], [2.0, 7.0]]), np.array([False, True]))
    out = np.empty(2)
    for moment in (0, P // 4, P - 1):
        assert gripper.sample(moment, out)
        assert out == pytest.approx([moment / P, 5])
    assert gripper.motion(P // 2)[1] == pytest.approx([1e9 / P, 0])
    steps = track(5, 6, held=STEPS)
    assert [at(steps, t) for t in (0, P - 1, P, 2 * P - 1, 2 * P)] == [5, 5, 6, 6, None]


def test_a_horizon_of_one_is_held_for_two_periods() -> None:
    timeline = Timeline()
    timeline.lay(track(5, held=STEPS), 100, BLEND)
    assert at(timeline, 2 * P - 1) == 5
    assert at(timeline, 2 * P) is None


def test_a_late_chunk_is_used_from_the_action_that_is_due() -> None:
    timeline = Timeline()
    timeline.lay(track(*range(10), held=STEPS), 7 * P, REPLACE)
    assert at(timeline, 7 * P) == 7


def test_a_chunk_wholly_past_or_older_than_the_plan_of_its_maker_is_refused() -> None:
    timeline = Timeline()
    assert timeline.lay(track(1, 2), 2 * P, REPLACE) is None
    assert timeline.empty
    assert timeline.lay(track(1, 2, 3, t0_ns=5 * P), 5 * P, REPLACE) is not None
    assert timeline.lay(track(8, 9, 10, 11, t0_ns=4 * P), 5 * P, REPLACE) is None
    assert at(timeline, 5 * P) == 1
    assert timeline.lay(track(8, 9, 10, 11, t0_ns=4 * P, by="fallback"), 5 * P, REPLACE) is not None
    assert at(timeline, 5 * P) == 9


def test_the_seam_tells_what_the_chunk_would_have_done_and_what_is_left() -> None:
    for chosen, left in ((REPLACE, 1.0), (BLEND, 0.0)):
        timeline = Timeline()
        timeline.lay(Track(0, P, np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])), 0, chosen)
        seam = timeline.lay(Track(P, P, np.array([[1.0, 0.0], [2.0, 1.0]])), P + P // 2, chosen)
        assert seam is not None
        assert seam.before_rad == pytest.approx(1.0)
        assert seam.after_rad == pytest.approx(left, abs=1e-12)
        assert (seam.strategy, seam.at_ns) == (chosen.name, P + P // 2)


def test_a_chunk_for_a_moment_to_come_waits_for_it_and_a_newer_one_takes_its_place() -> None:
    timeline = Timeline()
    timeline.lay(track(*range(10), held=STEPS), 0, REPLACE)
    timeline.lay(track(*range(100, 110), t0_ns=3 * P, held=STEPS), P, REPLACE)
    assert [at(timeline, k * P) for k in (1, 2)] == [1, 2]
    assert timeline.end_ns == 13 * P
    timeline.lay(track(*range(200, 210), t0_ns=3 * P, held=STEPS), 2 * P, REPLACE)
    assert [at(timeline, k * P) for k in (2, 3, 4)] == [2, 200, 201]
    timeline.lay(track(*range(300, 310), t0_ns=40 * P, held=STEPS), 4 * P, REPLACE)
    assert at(timeline, 11 * P) == 208
    assert at(timeline, 12 * P) == 300, "before the plan ends, though its moment has not come"


def test_clear_forgets_the_plan_and_accepts_any_chunk_again() -> None:
    timeline = Timeline()
    timeline.lay(track(1, 2, t0_ns=9 * P), 9 * P, REPLACE)
    timeline.clear()
    assert timeline.empty
    assert at(timeline, 9 * P) is None
    assert timeline.ahead_s(0) == 0
    assert timeline.lay(track(3, 4, t0_ns=P), P, REPLACE) is not None


def test_what_is_committed_is_what_will_run_and_no_more() -> None:
    timeline = Timeline()
    assert len(timeline.committed(0, P, 8)) == 0
    timeline.lay(track(*range(10)), 0, BLEND)
    assert timeline.committed(4 * P, P, 8)[:, 0].tolist() == [4, 5, 6, 7, 8, 9]
    assert timeline.committed(4 * P, P, 3)[:, 0].tolist() == [4, 5, 6]
    assert len(timeline.committed(10 * P, P, 8)) == 0
    timeline.lay(track(*range(5, 15), t0_ns=2 * P), 2 * P, BLEND)
    rows = timeline.committed(2 * P + P // 2, P, 8)[:, 0]
    assert rows == pytest.approx([at(timeline, 2 * P + P // 2 + k * P) for k in range(8)]), "with the blend"


@given(
    horizon=st.integers(1, 64),
    delay=st.integers(0, 70 * P),
    moment=st.integers(0, 70 * P),
    held=st.booleans(),
)
def test_any_sample_lies_between_the_actions_around_its_moment(
    horizon: int, delay: int, moment: int, held: bool
) -> None:
    timeline = Timeline()
    laid = timeline.lay(track(*range(horizon), held=STEPS if held else None), delay, REPLACE)
    now = max(delay, moment)
    value = at(timeline, now)
    end = max(horizon, 2) * P
    assert (laid is None) == (delay >= end)
    assert (value is None) == (laid is None or now >= end)
    if value is not None:
        due = min(now // P, horizon - 1)
        assert due <= value <= min(due + 1, horizon - 1)
        if held:
            assert value == due
        plan = timeline.at(now)
        assert plan is not None
        assert plan.row(now) == due
        assert timeline.ahead_s(now) == pytest.approx((end - now) / 1e9)
