"""Ways are slow, lead through all their points, and end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.degraded.way import ROWS_MAX, SPACING_NS, Trail, slow

SPEED = np.array([0.5, 1.0])
PERIOD_S = 0.01


@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=2, max_size=20))
def test_a_way_leads_through_its_points_and_no_joint_is_faster_than_allowed(
    points: list[tuple[float, float]],
) -> None:
    rows, spacing_ns = slow(np.array(points), SPEED)
    assert 2 <= len(rows) <= ROWS_MAX
    assert rows[0] == pytest.approx(points[0])
    assert rows[-1] == pytest.approx(points[-1])
    steps = np.abs(np.diff(rows, axis=0)) / (spacing_ns / 1e9)
    assert (steps <= SPEED * (1 + 1e-6) + 1e-9).all()
    step = np.abs(np.diff(rows, axis=0)).max()
    for point in points:
        assert np.abs(rows - point).max(axis=1).min() <= step + 1e-9, (
            "a way does not cut corners by more than a step"
        )


def test_joints_arrive_together_and_standing_still_takes_no_time() -> None:
    rows, spacing_ns = slow(np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 0.5], [1.0, 0.5]]), SPEED)
    assert spacing_ns == SPACING_NS
    assert len(rows) == round(1.0 / 0.5 / (SPACING_NS / 1e9)) + 1
    assert rows[:, 1] == pytest.approx(rows[:, 0] / 2)


def test_a_trail_keeps_the_newest_and_nothing_before_it_was_forgotten() -> None:
    trail = Trail(1, length_s=0.2, period_s=PERIOD_S)  # ten rows, every second call
    assert trail.backwards().shape == (0, 1)
    for number in range(7):
        trail.note(np.array([float(number)]))
    assert trail.backwards()[:, 0].tolist() == [6, 4, 2, 0]
    for number in range(7, 101):
        trail.note(np.array([float(number)]))
    assert trail.backwards()[:, 0].tolist() == [100 - 2 * age for age in range(10)]
    trail.forget()
    assert trail.backwards().shape == (0, 1)
    trail.note(np.array([5.0]))
    assert trail.backwards()[:, 0].tolist() == [5]


@pytest.mark.parametrize("period_s", [0.0005, 0.002, 0.05, 1.0])
def test_a_trail_is_as_long_as_asked_at_any_rate(period_s: float) -> None:
    trail = Trail(1, length_s=2.0, period_s=period_s)
    for number in range(round(10 / period_s)):
        trail.note(np.array([number * period_s]))
    kept = trail.backwards()[:, 0]
    assert kept[0] - kept[-1] == pytest.approx(2.0, abs=2 * max(period_s, SPACING_NS / 1e9))
