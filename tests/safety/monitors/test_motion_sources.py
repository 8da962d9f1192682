"""Oscillation and collision: what they see, and what not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from drivers.state import JointState
from safety.monitors.collision import Collision
from safety.monitors.oscillation import Oscillation

MS, S = 1_000_000, 1_000_000_000


@pytest.mark.parametrize("hertz", [1.0, 4.0, 20.0])
@pytest.mark.parametrize("look_ms", [2, 5])
def test_oscillation_measures_the_frequency_of_one_joint(hertz: float, look_ms: int) -> None:
    state = JointState(2)
    source = Oscillation(state, amplitude=0.5, window_ns=S)
    for now_ns in range(0, 3 * S, look_ms * MS):
        state.velocity[:] = math.sin(2 * math.pi * hertz * now_ns / S), 0.2
        found = source(now_ns)
    assert found[0] == pytest.approx(hertz, abs=0.5)  # half a turn more or less
    assert found[1] == 0


@pytest.mark.parametrize("shape", ["small", "just the amplitude", "one way", "still"])
def test_what_does_not_reach_the_amplitude_both_ways_does_not_swing(shape: str) -> None:
    state = JointState(1)
    source = Oscillation(state, amplitude=0.5, window_ns=S)
    for now_ns in range(0, 3 * S, 5 * MS):
        swing = math.sin(2 * math.pi * 5 * now_ns / S)
        state.velocity[0] = {
            "small": 0.49 * swing,
            "just the amplitude": math.copysign(0.5, swing),
            "one way": 1.0 + swing,
            "still": 0.0,
        }[shape]
        assert source(now_ns)[0] <= 0


def test_oscillation_is_over_when_the_window_has_passed_and_unknown_without_a_speed() -> None:
    state = JointState(1)
    source = Oscillation(state, amplitude=0.5, window_ns=S)
    for turn in range(11):
        state.velocity[0] = (-1.0) ** turn
        source(turn * 100 * MS)
    assert source(1000 * MS)[0] == pytest.approx(5.0)
    assert source(1500 * MS)[0] == pytest.approx(2.5)
    assert source(2001 * MS)[0] == 0
    state.velocity[0] = math.nan
    assert math.isnan(source(2002 * MS)[0])


def test_collision_sees_a_blow_and_forgets_it_in_its_time() -> None:
    state = JointState(2)
    source = Collision(state, settle_ns=S // 2)
    seen = []
    for now_ns in range(0, 4 * S, 5 * MS):
        state.torque[:] = (10.0 if now_ns >= S else 4.0), 1.0
        seen.append(source(now_ns).tolist())
    assert [row[0] for row in seen[:200]] == [0.0] * 200
    assert seen[200][0] == pytest.approx(6.0)
    assert seen[300][0] == pytest.approx(6.0 * math.exp(-1.0), rel=0.02)
    assert seen[-1][0] < 0.1
    assert all(row[1] == 0 for row in seen)


def test_collision_does_not_see_what_grows_slowly() -> None:
    state = JointState(1)
    source = Collision(state, settle_ns=S // 2)
    highest = 0.0
    for now_ns in range(0, 20 * S, 5 * MS):
        state.torque[0] = now_ns / S  # up to 20 Nm, 1 Nm/s
        highest = max(highest, source(now_ns)[0])
    assert highest == pytest.approx(0.5, rel=0.05)  # slope times time constant


def test_collision_begins_anew_after_a_pause_and_after_a_torque_that_was_not_known() -> None:
    state = JointState(1)
    source = Collision(state, settle_ns=S // 2)
    state.torque[0] = math.nan
    assert math.isnan(source(0)[0])
    state.torque[0] = 3.0
    assert source(5 * MS)[0] == 0
    state.torque[0] = math.inf
    assert math.isnan(source(10 * MS)[0])
    state.torque[0] = 5.0
    assert source(15 * MS)[0] == pytest.approx(2.0)
    state.torque[0] = 50.0
    assert source(15 * MS + S // 2)[0] == 0
    assert np.isfinite(source(16 * MS + S // 2)).all()
