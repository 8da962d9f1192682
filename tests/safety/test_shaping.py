from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.joint import Joint
from drivers.state import Floats, JointState
from safety.axis import Limit
from safety.envelope import Envelope
from safety.errors import EnvelopeError
from safety.shaping import Smoothing, TorqueLimit
from tests.examples import times

DT = 0.01
MakeJoint = Callable[..., Joint]
goals = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(-3, 3),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e300]),
)
measurements = st.one_of(st.floats(-3, 3), st.just(math.nan))

TORQUE, RATE, KP, KD = 8.0, 200.0, 40.0, 1.5


@pytest.fixture
def soft(make_joint: MakeJoint) -> Callable[..., Joint]:
    """A joint in MIT mode whose torque is watched."""

    def make(**changes: float) -> Joint:
        law = {"kp": KP, "kd": KD, "torque_max": TORQUE, "torque_rate_max": RATE}
        return make_joint(**(law | changes))

    return make


def start(joint: Joint, position: float = 0.0, velocity: float = 0.0) -> tuple[Envelope, JointState]:
    state = JointState(1)
    state.position[0], state.velocity[0] = position, velocity
    envelope = Envelope([joint], DT, state)
    envelope.reset(np.array([position]))
    return envelope, state


def tick(envelope: Envelope, goal: float) -> float:
    out = np.empty(1)
    envelope.apply(np.array([goal]), out)
    return float(out[0])


def path_of(envelope: Envelope, given: list[float]) -> Floats:
    return np.array([float(envelope.position[0]), *(tick(envelope, goal) for goal in given)])


def assert_within_limits(path: Floats, joint: Joint) -> None:
    assert np.isfinite(path).all()
    assert path.min() >= joint.position_min
    assert path.max() <= joint.position_max
    velocity = np.concatenate([[0.0], np.diff(path) / DT])
    assert np.abs(velocity).max() <= joint.velocity_max * (1 + 1e-9)
    assert np.abs(np.diff(velocity)).max() <= joint.acceleration_max * DT * (1 + 1e-9) + 1e-9


# -- smoothing


@given(st.lists(goals, min_size=1, max_size=40), st.floats(0.001, 10))
def test_a_smoothed_goal_breaks_no_limit(given_goals: list[float], seconds: float) -> None:
    joint = Joint(
        name="a",
        bus="b",
        id=1,
        model="m",
        position_min=-2,
        position_max=2,
        velocity_max=3,
        acceleration_max=20,
        smoothing=seconds,
    )
    envelope, _ = start(joint)
    assert_within_limits(path_of(envelope, given_goals), joint)


def test_smoothing_is_a_first_order_low_pass(make_joint: MakeJoint) -> None:
    envelope, _ = start(make_joint(smoothing=0.5, acceleration_max=1e4, velocity_max=100.0))
    path = path_of(envelope, [1.0] * 1500)
    assert np.allclose(path[:200], 1 - np.exp(-np.arange(200) * DT / 0.5), atol=1e-9)
    assert path[-1] == path[-2] == 1.0
    assert envelope.at_rest()
    assert envelope.limits[0] == 0


def test_a_stop_is_not_smoothed(make_joint: MakeJoint) -> None:
    envelope, _ = start(make_joint(smoothing=0.5))
    path_of(envelope, [2.0] * 50)
    speed, stop = float(envelope.velocity[0]), np.empty(1)
    assert speed > 0.5
    envelope.stopping_point(stop)
    path_of(envelope, [float(stop[0])] * (int(speed / 20 / DT) + 2))
    assert envelope.at_rest()
    assert envelope.position[0] == pytest.approx(stop[0])


def test_a_goal_far_outside_is_not_remembered(make_joint: MakeJoint) -> None:
    envelope, _ = start(make_joint(smoothing=0.5))
    path_of(envelope, [1e300] * 500)
    assert envelope.limits[0] == Limit.POSITION
    back = path_of(envelope, [0.0] * 150)
    assert back[-1] < 2.0 * math.exp(-150 * DT / 0.5) + 0.2


def test_after_a_pause_smoothing_starts_where_the_joint_is(make_joint: MakeJoint) -> None:
    envelope, _ = start(make_joint(smoothing=0.5))
    path_of(envelope, [1.0] * 200 + [math.nan] * 30)
    assert envelope.limits[0] == Limit.NOT_FINITE
    here = envelope.position[0]
    path = path_of(envelope, [0.0] * 200)
    assert path.max() <= here + 1e-9


def test_the_low_pass_goes_on_from_its_own_value_while_the_command_lags(make_joint: MakeJoint) -> None:
    smoothing = Smoothing(make_joint(smoothing=0.5), DT)
    part = 1 - math.exp(-DT / 0.5)
    first, second = smoothing.follow(1.0, last=0.0), smoothing.follow(1.0, last=0.0)
    assert first == pytest.approx(part)
    assert second == pytest.approx(part + (1 - part) * part)


# -- torque


def torque(envelope: Envelope, state: JointState) -> float:
    return float(KP * (envelope.position[0] - state.position[0]) - KD * state.velocity[0])


@pytest.mark.parametrize("jerk", [None, 400.0])
def test_a_blocked_joint_is_pressed_no_harder_than_it_may_and_no_faster(
    soft: MakeJoint, jerk: float | None
) -> None:
    envelope, state = start(soft(jerk_max=jerk))
    seen = []
    for _ in range(200):
        tick(envelope, 1.5)
        seen.append(torque(envelope, state))
    assert max(seen) <= TORQUE + 1e-9
    assert max(np.diff([0.0, *seen])) <= RATE * DT + 1e-9
    assert seen[-1] == pytest.approx(TORQUE)
    assert envelope.limits[0] == Limit.TORQUE
    assert envelope.counts[Limit.TORQUE][0] > 100


def test_without_the_key_the_measurement_is_not_looked_at(make_joint: MakeJoint) -> None:
    joint = make_joint(kp=KP, kd=KD, torque_max=TORQUE)
    envelope, _ = start(joint)
    path_of(envelope, [1.5] * 300)
    assert envelope.position[0] == 1.5


def test_a_part_of_the_torque_is_kept_to_without_a_rate_too(make_joint: MakeJoint) -> None:
    envelope, state = start(make_joint(kp=KP, kd=KD, torque_max=TORQUE))
    envelope.set_torque(0.25)
    path_of(envelope, [1.5] * 300)
    assert torque(envelope, state) == pytest.approx(0.25 * TORQUE)
    assert envelope.limits[0] == Limit.TORQUE
    envelope.set_torque(1.0)
    assert path_of(envelope, [1.5] * 300)[-1] == 1.5


def test_a_motor_that_is_not_in_mit_mode_has_no_torque_to_keep_to(make_joint: MakeJoint) -> None:
    envelope, _ = start(make_joint(torque_max=TORQUE))
    envelope.set_torque(0.25)
    assert path_of(envelope, [1.5] * 300)[-1] == 1.5


@pytest.mark.parametrize("reason", ["old", "nan", "never"])
def test_a_reading_that_says_nothing_leaves_the_other_limits(soft: MakeJoint, reason: str) -> None:
    envelope, state = start(soft())
    if reason == "old":
        state.missed[0] = 2
    else:
        (state.velocity if reason == "nan" else state.position)[0] = math.nan
    path = path_of(envelope, [1.5] * 300)
    assert_within_limits(path, soft())
    assert path[-1] == 1.5
    assert envelope.counts[Limit.TORQUE][0] == 0


def test_without_the_measured_state_there_is_no_such_limit_and_no_envelope(soft: MakeJoint) -> None:
    with pytest.raises(EnvelopeError, match="the torque of elbow is limited, which needs the measured state"):
        Envelope([soft()], DT)
    with pytest.raises(EnvelopeError, match="the torque of elbow, wrist is limited"):
        Envelope([soft(), soft().model_copy(update={"name": "wrist"})], DT)


def test_one_missing_answer_is_no_old_reading(soft: MakeJoint) -> None:
    envelope, state = start(soft())
    state.missed[0] = 1
    path_of(envelope, [1.5] * 300)
    assert torque(envelope, state) == pytest.approx(TORQUE)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_goal_that_is_no_number_still_brakes(soft: MakeJoint, bad: float) -> None:
    envelope, _ = start(soft())
    assert (path_of(envelope, [bad] * 20) == 0.0).all()
    assert envelope.limits[0] == Limit.NOT_FINITE


@times(2)
@given(
    st.lists(st.tuples(goals, measurements, measurements, st.integers(0, 3)), min_size=1, max_size=60),
    st.sampled_from([None, 0.2]),
)
def test_whatever_is_measured_breaks_no_other_limit(
    ticks: list[tuple[float, float, float, int]], smoothing: float | None
) -> None:
    joint = Joint(
        name="a",
        bus="b",
        id=1,
        model="m",
        position_min=-2,
        position_max=2,
        velocity_max=3,
        acceleration_max=20,
        kp=KP,
        kd=KD,
        torque_max=TORQUE,
        torque_rate_max=RATE,
        smoothing=smoothing,
    )
    envelope, state = start(joint)
    path = [0.0]
    for goal, position, velocity, missed in ticks:
        state.position[0], state.velocity[0], state.missed[0] = position, velocity, missed
        path.append(tick(envelope, goal))
    assert_within_limits(np.array(path), joint)


@given(
    st.floats(-3, 3), st.floats(-2, 2), st.floats(-5, 5), st.floats(-2, 2), st.floats(0.1, 50), st.floats(1, 1e4)
)
def test_a_goal_is_pulled_towards_the_measurement_and_never_past_it(
    goal: float, position: float, velocity: float, last: float, most: float, rate: float
) -> None:
    joint = Joint(
        name="a",
        bus="b",
        id=1,
        model="m",
        position_min=-2,
        position_max=2,
        velocity_max=3,
        acceleration_max=20,
        kp=KP,
        kd=KD,
        torque_max=most,
        torque_rate_max=rate,
    )
    pulled = TorqueLimit(joint, DT).follow(goal, last, position, velocity, 0)
    assert min(goal, position) <= pulled <= max(goal, position)
    asked = KP * (pulled - position) - KD * velocity
    if pulled not in (goal, position):
        before = KP * (last - position) - KD * velocity
        assert abs(asked) <= most * (1 + 1e-9)
        assert abs(asked) <= abs(before) + rate * DT + 1e-9 * KP


@pytest.mark.parametrize(
    ("last", "velocity", "lowest", "highest"),
    [
        # kp 10 Nm/rad, kd 2 Nms/rad, at most 8 Nm and 2 Nm more in a tick, at 1 rad.
        (1.0, 0.0, 0.8, 1.2),  # no torque before: 2 Nm either way
        (1.3, 0.0, 0.8, 1.5),  # 3 Nm before
        (0.7, 0.0, 0.5, 1.2),  # -3 Nm
        (1.7, 0.0, 0.8, 1.8),  # 7 Nm: no more than 8
        (0.3, 0.0, 0.2, 1.2),  # -7 Nm
        (1.2, 0.5, 0.9, 1.4),  # 2 - 1 Nm: with 1 Nm of damping, goals from -2 to 3 Nm
        (0.8, -0.5, 0.6, 1.1),  # the same the other way
        (1.6, 3.0, 1.0, 1.8),  # damping makes 6 Nm: a goal at the joint is asked for less than 2 Nm against it
        (0.4, -3.0, 0.2, 1.0),
    ],
)
def test_the_torque_grows_from_what_it_was_by_no_more_than_its_rate(
    make_joint: MakeJoint, last: float, velocity: float, lowest: float, highest: float
) -> None:
    limit = TorqueLimit(make_joint(kp=10.0, kd=2.0, torque_max=8.0, torque_rate_max=200.0), DT)

    def pulled(goal: float) -> float:
        return limit.follow(goal, last, 1.0, velocity, 0)

    assert (limit.limits, pulled(1.0), limit.limits) == (0, 1.0, 0)
    assert (pulled(5.0), limit.limits) == (pytest.approx(highest), Limit.TORQUE)
    assert (pulled(-5.0), limit.limits) == (pytest.approx(lowest), Limit.TORQUE)


def test_the_torque_before_is_that_of_the_reading_before(make_joint: MakeJoint) -> None:
    limit = TorqueLimit(make_joint(kp=10.0, kd=2.0, torque_max=8.0, torque_rate_max=200.0), DT)
    assert limit.follow(5.0, 1.2, position=1.0, velocity=0.5, missed=0) == pytest.approx(1.4)
    # 10 * (1.4 - 1.0) - 2 * 0.5 = 3 Nm before, at most 5 Nm now, with -0.5 Nm of damping.
    assert limit.follow(5.0, 1.4, position=1.1, velocity=-0.25, missed=0) == pytest.approx(1.1 + 4.5 / 10)


def test_a_joint_that_moves_freely_arrives(soft: MakeJoint) -> None:
    envelope, state = start(soft(torque_rate_max=2000.0))
    position = velocity = 0.0
    inertia, inner = 0.1, 10
    for _ in range(600):
        tick(envelope, 1.0)
        for _ in range(inner):
            asked = KP * (envelope.position[0] - position) - KD * velocity
            velocity += asked / inertia * DT / inner
            position += velocity * DT / inner
        state.position[0], state.velocity[0] = position, velocity
    assert envelope.position[0] == 1.0
    assert position == pytest.approx(1.0, abs=1e-3)
