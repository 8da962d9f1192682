from __future__ import annotations

import math

import numpy as np
import pytest

from drivers.state import JointState
from safety.monitors import joints

NAN, MS = math.nan, 1_000_000


@pytest.fixture
def state() -> JointState:
    state = JointState(3)
    state.position[:] = 0.1, -0.2, NAN
    state.velocity[:] = -2.0, 0.5, NAN
    state.torque[:] = 3.0, -4.0, NAN
    state.temperature[:] = 40.0, 50.0, NAN
    state.voltage[:] = 24.0, 23.0, NAN
    state.stamp_ns[:] = 100 * MS, 90 * MS, 0
    return state


COMMAND = np.array([0.3, -0.2, 0.0])


def test_values_of_a_joint_that_was_never_read_are_not_known(state: JointState) -> None:
    for source, expected in (
        (joints.velocity(state), [2.0, 0.5, NAN]),
        (joints.torque(state), [3.0, 4.0, NAN]),
        (joints.following_error(state, lambda: COMMAND), [0.2, 0.0, NAN]),
    ):
        np.testing.assert_allclose(source(0), expected)


def test_they_read_what_the_loop_fills_in_place(state: JointState) -> None:
    command = COMMAND.copy()
    source = joints.following_error(state, lambda: command)
    state.position[:] = 0.0
    command[:] = 1.0, 2.0, 3.0
    np.testing.assert_allclose(source(0), [1.0, 2.0, 3.0])


def test_before_the_first_reading_arming_is_refused_so_that_temperature_and_voltage_count_as_good(
    state: JointState,
) -> None:
    np.testing.assert_allclose(joints.temperature(state)(0), [40.0, 50.0, 0.0])
    np.testing.assert_allclose(joints.voltage(state)(0), [24.0, 23.0, math.inf])
    state.stamp_ns[2] = 1
    assert np.isnan(joints.temperature(state)(0)[2])
    assert np.isnan(joints.voltage(state)(0)[2])


def test_age(state: JointState) -> None:
    np.testing.assert_allclose(joints.age(state)(110 * MS), [0.01, 0.02, 0.11])


def test_torque_error_is_what_the_motor_fails_to_make(state: JointState) -> None:
    kp, kd = np.array([20.0, 20.0, 20.0]), np.array([0.5, 0.5, 0.5])
    source = joints.torque_error(state, lambda: COMMAND, kp, kd)
    # 20 * 0.2 + 0.5 * 2 = 5, reported 3; -0.5 * 0.5 = -0.25, reported -4.
    np.testing.assert_allclose(source(0), [2.0, 3.75, NAN])
    state.torque[:2] = 5.0, -0.25
    np.testing.assert_allclose(source(0), [0.0, 0.0, NAN], atol=1e-12)


@pytest.mark.parametrize(
    ("command", "speed", "torque", "expected"),
    [
        (0.3, 0.0, -2.0, 2.0),  # stalled
        (0.3, -0.2, -2.0, 0.0),  # it moves
        (0.11, 0.0, -2.0, 0.0),  # it has arrived
        (0.3, NAN, -2.0, NAN),
        (0.3, 0.0, NAN, NAN),
        (0.11, 0.0, NAN, NAN),
    ],
)
def test_blocked_torque(command: float, speed: float, torque: float, expected: float) -> None:
    state = JointState(1)
    state.position[:], state.velocity[:], state.torque[:] = 0.1, speed, torque
    source = joints.blocked_torque(state, lambda: np.array([command]), error=0.05, speed=0.1)
    np.testing.assert_allclose(source(0), [expected])


def test_a_joint_is_blocked_beyond_the_error_and_below_the_speed() -> None:
    state = JointState(1)
    source = joints.blocked_torque(state, lambda: np.array([0.5]), error=0.5, speed=0.25)
    state.torque[:] = 2.0
    for position, velocity, expected in ((0.0, 0.0, 0.0), (-0.5, 0.25, 0.0), (-0.5, 0.125, 2.0)):
        state.position[:], state.velocity[:] = position, velocity
        assert source(0)[0] == expected
