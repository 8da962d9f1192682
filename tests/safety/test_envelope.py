from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from drivers.joint import Joint
from drivers.state import Floats
from safety.axis import Limit
from safety.envelope import Envelope
from safety.errors import EnvelopeError
from tests.examples import times

DT = 0.01
ROUNDING = 1e-11

MakeJoint = Callable[..., Joint]
fractions = st.floats(-1.0, 1.0)
anything = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(-5, 5),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e300, -1e300, 0.0, -2.0, 2.0]),
)


def start(joints: Iterable[Joint], *position: float, dt: float = DT) -> Envelope:
    envelope = Envelope(list(joints), dt)
    envelope.reset(np.array(position))
    return envelope


def tick(envelope: Envelope, *goal: float) -> Floats:
    out = np.full(len(goal), np.nan)
    envelope.apply(np.array(goal), out)
    return out


def follow(envelope: Envelope, goals: Iterable[float]) -> Floats:
    """Commands of a one-joint envelope, the position before the first included."""
    return np.array([envelope.position[0], *(tick(envelope, goal)[0] for goal in goals)])


def assert_inside_envelope(path: Floats, joint: Joint, first_velocity: float = 0.0) -> None:
    velocity = np.concatenate([[first_velocity], np.diff(path) / DT])
    assert np.isfinite(path).all()
    assert path.min() >= joint.position_min
    assert path.max() <= joint.position_max
    assert np.abs(velocity).max() <= joint.velocity_max * (1 + 1e-9)
    assert np.abs(np.diff(velocity)).max() <= joint.acceleration_max * DT * (1 + 1e-9) + ROUNDING / DT


def ticks_to_settle(joint: Joint) -> int:
    top, brake = joint.velocity_max * DT, joint.acceleration_max * DT**2
    return int((joint.position_max - joint.position_min) / top + 4 * top / brake) + 20


joints = st.builds(
    lambda low, width, velocity, acceleration: Joint(
        name="elbow",
        bus="left",
        id=1,
        model="XM430-W350",
        position_min=low,
        position_max=low + width,
        velocity_max=velocity,
        acceleration_max=acceleration,
    ),
    st.floats(-3, 2),
    st.floats(0.1, 3),
    st.floats(0.5, 50),
    st.floats(5, 5000),
)


@times(1.5)
@given(joints, st.floats(0, 1), st.lists(anything, min_size=1, max_size=60))
def test_no_goal_leads_out_of_the_envelope(joint: Joint, where: float, goals: list[float]) -> None:
    width = joint.position_max - joint.position_min
    path = follow(start([joint], joint.position_min + where * width), goals)
    assert_inside_envelope(path, joint)


@given(st.lists(fractions, min_size=2, max_size=80), st.floats(-500, 500))
def test_a_trackable_goal_passes_bit_by_bit(accelerations: list[float], origin: float) -> None:
    joint = Joint(
        name="a",
        bus="b",
        id=1,
        model="m",
        position_min=-1e4,
        position_max=1e4,
        velocity_max=3,
        acceleration_max=20,
    )
    envelope = start([joint], origin)
    goal, step = origin, 0.0
    for fraction in accelerations:
        step = float(np.clip(step + 0.999 * fraction * 20 * DT**2, -0.999 * 3 * DT, 0.999 * 3 * DT))
        goal += step
        assert tick(envelope, goal)[0] == goal
        assert envelope.limits[0] == 0


@times(1.5)
@given(joints, st.lists(fractions, max_size=30), st.floats(0, 1))
def test_a_resting_goal_is_met_without_overshoot_and_kept(joint: Joint, before: list[float], where: float) -> None:
    low, width = joint.position_min, joint.position_max - joint.position_min
    envelope = start([joint], low + width / 2)
    follow(envelope, [low + width * (1 + fraction) / 2 for fraction in before])
    goal = low + where * width
    tick(envelope, goal)  # the goal's jump; from here on it rests
    stop = np.empty(1)
    envelope.stopping_point(stop)
    position = envelope.position[0]
    side = math.copysign(1.0, goal - position)
    can_stop_before = position != goal and side * (goal - stop[0]) >= 0

    path = follow(envelope, [goal] * ticks_to_settle(joint))
    if can_stop_before:
        assert (side * (goal - path) >= -ROUNDING).all()
    arrived = int(np.argmax(path == goal))
    assert path[arrived] == goal
    # A joint that meets its goal at exactly one brake step may round by one bit, once.
    assert (np.abs(path[arrived + 1 :] - goal) <= ROUNDING).all() or not can_stop_before
    assert path[-1] == path[-2] == goal
    assert envelope.at_rest()


@pytest.mark.parametrize("distance", [1e-9, 1e-4, 0.002, 0.0031, 0.05, 0.3, 1.0, 4.0])
@pytest.mark.parametrize("dt", [0.001, 0.002, 0.02])
def test_a_step_from_rest_ramps_up_cruises_and_brakes_onto_the_goal(
    make_joint: MakeJoint, distance: float, dt: float
) -> None:
    joint = make_joint()
    envelope = start([joint], -2.0, dt=dt)
    ideal = distance / 3 + 3 / 20 if distance > 9 / 20 else 2 * math.sqrt(distance / 20)
    path = follow(envelope, [-2.0 + distance] * (int(ideal / dt) + 4))
    assert (np.diff(path) >= -ROUNDING).all()
    assert path[-1] == -2.0 + distance
    assert np.abs(np.diff(path, 2)).max() <= 20 * dt**2 + ROUNDING


@pytest.mark.parametrize("jump", [0.001, 0.01, 0.1])
@pytest.mark.parametrize("ticks", [3, 12, 15, 20])
def test_a_jump_in_the_direction_of_motion_is_not_taken_for_motion(
    make_joint: MakeJoint, ticks: int, jump: float
) -> None:
    path = follow(start([make_joint()], 0.0), [0.3] * ticks + [0.3 + jump] * 200)
    assert path.max() <= 0.3 + jump + ROUNDING
    assert path[-1] == 0.3 + jump


@given(joints, st.lists(st.one_of(fractions, st.just(2.0)), max_size=40), st.booleans())
def test_the_stopping_point_is_where_a_stop_ends(joint: Joint, before: list[float], tracking: bool) -> None:
    low, width = joint.position_min, joint.position_max - joint.position_min
    envelope = start([joint], low + width / 2)
    if tracking:  # towards a wall, as fast as the joint may
        follow(envelope, [low + width / 2 + 2 * joint.velocity_max * DT * k for k in range(len(before))])
    else:
        follow(envelope, [low + width * (1 + fraction) / 2 for fraction in before])
    speed = envelope.velocity[0]
    stop = np.empty(1)
    envelope.stopping_point(stop)
    path = follow(envelope, [stop[0]] * (int(joint.velocity_max / joint.acceleration_max / DT) + 3))
    assert_inside_envelope(path, joint, speed)
    assert (np.diff(path) * math.copysign(1.0, speed) >= -ROUNDING).all()
    assert (np.diff(np.abs(np.diff(path))) <= ROUNDING).all()
    assert path[-1] == pytest.approx(stop[0], abs=ROUNDING)
    assert envelope.at_rest()


@pytest.mark.parametrize("speed_in_brakes", [0.5, 1, 2, 2.7, 3, 3.3, 3.6, 5, 14])
def test_a_stop_out_of_smooth_motion_never_turns_back(make_joint: MakeJoint, speed_in_brakes: float) -> None:
    # At three brake steps per tick the stopping point is exactly where the moving goal would be next.
    joint, brake = make_joint(), 20 * DT**2
    step = speed_in_brakes * brake
    ramp = np.minimum(np.arange(1, 60) * 0.9 * brake, step)
    envelope = start([joint], -1.0)
    goals = -1.0 + np.cumsum(ramp)
    assert follow(envelope, goals)[-1] == goals[-1]
    stop = np.empty(1)
    envelope.stopping_point(stop)
    path = follow(envelope, [stop[0]] * 30)
    assert (np.diff(path) >= -ROUNDING).all()
    assert np.diff(path)[0] == pytest.approx(max(step - brake, 0), abs=ROUNDING)
    assert path[-1] == pytest.approx(stop[0], abs=ROUNDING)


def test_asking_for_the_stopping_point_changes_nothing_for_other_goals(make_joint: MakeJoint) -> None:
    goals = [0.4 * math.sin(2 * DT * k) for k in range(300)]
    asked, unasked = start([make_joint()], 0.0), start([make_joint()], 0.0)
    for goal in goals:
        asked.stopping_point(np.empty(1))
        assert tick(asked, goal) == tick(unasked, goal)


def test_a_goal_that_moves_steadily_is_caught_without_overshoot(make_joint: MakeJoint) -> None:
    goals = np.array([0.3 + 1.5 * DT * k for k in range(1, 100)])
    path = follow(start([make_joint(position_max=5.0)], 0.0), goals)[1:]
    assert (goals - path >= -ROUNDING).all()
    assert (path[50:] == goals[50:]).all()


def test_a_goal_that_swings_is_caught_and_then_passes_unchanged(make_joint: MakeJoint) -> None:
    swing = [0.5 + 0.4 * math.sin(6 * DT * k) for k in range(400)]  # up to 14.4 of 20 rad/s²
    path = follow(start([make_joint()], -1.5), swing)[1:]
    assert (path[150:] == swing[150:]).all()


@pytest.mark.parametrize("offset", [0.0, 0.003, 0.007, 0.013, 0.019, 0.025])
def test_a_joint_that_runs_at_its_wall_brakes_before_it(make_joint: MakeJoint, offset: float) -> None:
    joint = make_joint()
    path = follow(start([joint], -1.9 + offset), [-1.9 + offset + 2.99 * DT * k for k in range(400)])
    assert_inside_envelope(path, joint)
    assert path[-1] == 2.0
    assert (np.diff(path) >= 0).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_goal_that_is_no_number_brakes_that_joint_only(make_joint: MakeJoint, bad: float) -> None:
    envelope = start([make_joint(), make_joint("wrist")], 0.0, 0.0)
    for k in range(1, 50):
        both = tick(envelope, 0.9 * DT * k, 0.9 * DT * k)
    bad_path, good_path = [both[0]], []
    for k in range(50, 80):
        command = tick(envelope, bad, 0.9 * DT * k)
        bad_path.append(command[0])
        good_path.append(command[1])
        assert envelope.limits.tolist() == [Limit.NOT_FINITE, 0]
    assert good_path == [0.9 * DT * k for k in range(50, 80)]
    steps = np.diff(bad_path)
    assert (steps >= -ROUNDING).all()
    assert np.allclose(np.diff([0.9 * DT, *steps])[:4], -20 * DT**2)
    assert steps[-1] == 0
    assert envelope.counts[Limit.NOT_FINITE].tolist() == [30, 0]
    assert tick(envelope, bad_path[-1], 0.9 * DT * 80)[0] == bad_path[-1]
    assert envelope.limits.tolist() == [0, 0]


@pytest.mark.parametrize(("outside", "inward"), [(2.1, -1.0), (-2.3, 1.0)])
def test_a_joint_outside_its_range_only_moves_towards_it(
    make_joint: MakeJoint, outside: float, inward: float
) -> None:
    joint = make_joint()
    envelope = start([joint], outside)
    assert (follow(envelope, [outside] * 5) == outside).all(), "a hold where it stands does not move it"
    assert (follow(envelope, [outside - inward] * 5) == outside).all()
    assert envelope.limits[0] == Limit.POSITION
    path = follow(envelope, [0.0] * 5 + [outside] * 20 + [0.0] * 150)
    assert (np.diff(path) * inward >= -ROUNDING).all()
    assert path[-1] == 0
    assert_inside_envelope(follow(envelope, [outside] * 200), joint)


def test_the_reasons_say_what_holds_the_command_back(make_joint: MakeJoint) -> None:
    envelope = start([make_joint()], 0.0)
    seen = []
    for _ in range(300):
        tick(envelope, 3.0)
        seen.append(Limit(int(envelope.limits[0])))
    outside = Limit.POSITION
    assert seen[0] == seen[13] == outside | Limit.ACCELERATION
    assert seen[20] == outside | Limit.VELOCITY
    assert seen[-1] == outside
    order = [seen[0], *(now for before, now in pairwise(seen) if now != before)]
    assert order == [
        outside | Limit.ACCELERATION,
        outside | Limit.VELOCITY,
        outside | Limit.ACCELERATION,
        outside,
    ]
    for limit in Limit:
        assert envelope.counts[limit][0] == sum(limit in bits for bits in seen)


def test_rounding_is_not_counted_as_a_limit(make_joint: MakeJoint) -> None:
    envelope = start([make_joint(position_max=1.5707963)], 1.5707)
    for _ in range(5):
        assert tick(envelope, float(np.float32(1.5707964)))[0] <= 1.5707963
    assert envelope.limits[0] == 0


def test_a_reset_starts_from_standstill_and_forgets_the_goal(make_joint: MakeJoint) -> None:
    envelope = start([make_joint()], 0.0)
    follow(envelope, [math.nan, 1.0, 1.0, 1.0])
    envelope.reset(np.array([-1.0]))
    assert envelope.position[0] == -1.0
    assert envelope.velocity[0] == 0.0
    assert envelope.limits[0] == 0
    assert tick(envelope, 1.0)[0] == pytest.approx(-1.0 + 20 * DT**2)
    assert envelope.velocity[0] == pytest.approx(20 * DT)
    assert not envelope.at_rest()


def test_goal_and_command_may_be_the_same_array(make_joint: MakeJoint) -> None:
    apart, same = start([make_joint()], 0.0), start([make_joint()], 0.0)
    for goal in (0.5, math.nan, -3.0, 0.001, 0.001):
        array = np.array([goal])
        same.apply(array, array)
        assert array == tick(apart, goal)
        assert same.limits == apart.limits


def test_without_a_position_there_is_no_envelope(make_joint: MakeJoint) -> None:
    envelope = Envelope([make_joint(), make_joint("wrist")], DT)
    unknown = "the envelope does not know where the joints are; call reset first"
    with pytest.raises(EnvelopeError, match=f"^{unknown}$"):
        tick(envelope, 0.0, 0.0)
    with pytest.raises(EnvelopeError, match="no measured position of wrist"):
        envelope.reset(np.array([0.0, math.nan]))
    with pytest.raises(EnvelopeError, match="no measured position of elbow, wrist; wait until every joint has"):
        envelope.reset(np.array([math.nan, math.nan]))
    with pytest.raises(EnvelopeError, match="one for each of 2 joints"):
        envelope.reset(np.zeros(3))
    with pytest.raises(EnvelopeError, match="call reset first"):
        tick(envelope, 0.0, 0.0)


@given(
    start=st.floats(-0.9, 0.9),
    moves=st.lists(
        st.one_of(
            st.floats(-0.003, 0.003),
            st.floats(-0.2, 0.2),
            st.sampled_from([0.0, 0.003, 0.0025, -0.003, np.nan, np.inf, 1e300]),
        ),
        max_size=60,
    ),
    stops=st.sets(st.integers(0, 60)),
)
@example(start=0.0, moves=[0.0035, 0.0, 0.003], stops=set())  # it has just met its goal, at another speed
@example(start=0.0, moves=[0.0015, 0.003, 0.0, 0.005], stops=set())  # the goal stands, then jumps
def test_the_short_way_gives_what_the_long_way_gives_bit_by_bit(
    start: float, moves: list[float], stops: set[int]
) -> None:
    joint = Joint(
        name="a",
        bus="b",
        id=1,
        model="m",
        position_min=-1,
        position_max=1,
        velocity_max=2,
        acceleration_max=20,
    )
    short, long = Envelope([joint], 0.01), Envelope([joint], 0.01)
    got, expected, goal = np.empty(1), np.empty(1), np.array([start])
    for envelope in (short, long):
        envelope.reset(goal)
    for number, move in enumerate(moves):
        if number in stops:
            short.stopping_point(goal)
            long.stopping_point(goal)
        elif not np.isfinite(goal[0]) or abs(goal[0]) > 10:
            goal = np.array([start])
        else:
            goal = goal + move
        long._axes[0]._tracking = False
        short.apply(goal, got)
        long.apply(goal, expected)
        assert got[0] == expected[0]
        assert short.limits[0] == long.limits[0]


speeds = st.sampled_from([1.0, 0.5, 0.25, 0.01])


@times(1.5)
@given(joints, st.lists(st.tuples(speeds, st.lists(anything, min_size=1, max_size=20)), min_size=1, max_size=6))
def test_a_lower_speed_is_reached_along_the_acceleration_and_kept(
    joint: Joint, parts: list[tuple[float, list[float]]]
) -> None:
    middle = 0.5 * (joint.position_min + joint.position_max)
    envelope = start([joint], middle)
    top, brake = joint.velocity_max * DT, joint.acceleration_max * DT**2
    path, last = [middle], 0.0
    for factor, goals in parts:
        envelope.set_speed(factor)
        for goal in goals:
            path.append(tick(envelope, goal)[0])
            step = abs(path[-1] - path[-2])
            assert step <= max(factor * top, last - brake) + ROUNDING, "never faster, and never later"
            last = step
    assert_inside_envelope(np.array(path), joint)


def test_the_speed_is_lowered_raised_and_survives_a_new_start(make_joint: MakeJoint) -> None:
    envelope = start([make_joint(velocity_max=2.0)], -2.0)
    follow(envelope, [2.0] * 30)
    assert envelope.velocity[0] == pytest.approx(2.0)
    envelope.set_speed(0.25)
    speeds = [(tick(envelope, 2.0), envelope.velocity[0])[1] for _ in range(20)]
    assert speeds == pytest.approx([max(2.0 - 0.2 * i, 0.5) for i in range(1, 21)])
    assert envelope.limits[0] == Limit.VELOCITY
    envelope.reset(np.array([0.0]))
    follow(envelope, [2.0] * 30)
    assert envelope.velocity[0] == pytest.approx(0.5)
    envelope.set_speed(1.0)
    follow(envelope, [2.0] * 30)
    assert envelope.velocity[0] == pytest.approx(2.0)


def test_a_joint_that_tracks_a_moving_goal_is_slowed_as_well(make_joint: MakeJoint) -> None:
    envelope = start([make_joint(velocity_max=2.0)], 0.0)
    goals = np.cumsum(np.minimum(np.arange(1, 60) * 0.1, 1.0)) * DT
    follow(envelope, goals[:30])
    assert envelope.velocity[0] == pytest.approx(1.0)
    assert not envelope.limits[0]
    envelope.set_speed(0.25)
    follow(envelope, goals[30:])
    assert envelope.velocity[0] == pytest.approx(0.5)
