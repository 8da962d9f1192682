from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from drivers.joint import Joint
from drivers.state import Floats
from safety.axis import Axis, Limit
from safety.envelope import Envelope
from safety.jerk import JerkAxis
from tests.examples import times

ROUNDING = 1e-10
"""Of angles of a few rad, after some thousand sums."""

MakeJoint = Callable[..., Joint]


@dataclass(frozen=True)
class Case:
    """A joint, the tick, and where the joint starts."""

    joint: Joint
    dt: float
    start: float

    def envelope(self) -> Envelope:
        envelope = Envelope([self.joint], self.dt)
        envelope.reset(np.array([self.start]))
        return envelope

    def settling_ticks(self) -> int:
        """More than any way within the range takes, the window of the mean included."""
        joint = self.joint
        width = joint.position_max - joint.position_min
        seconds = width / joint.velocity_max + 4 * joint.velocity_max / joint.acceleration_max + joint.jerk_window
        return int(seconds / self.dt) + 20


@st.composite
def cases(draw: st.DrawFn) -> Case:
    dt = draw(st.sampled_from([0.001, 0.002, 0.01, 0.02]))
    low, width = draw(st.floats(-3, 2)), draw(st.floats(0.1, 3))
    acceleration = draw(st.floats(5, 5000))
    window = draw(st.floats(0.1, 40)) * dt
    assume(window <= 1)
    joint = Joint(
        name="elbow",
        bus="left",
        id=1,
        model="m",
        position_min=low,
        position_max=low + width,
        velocity_max=draw(st.floats(0.5, 50)),
        acceleration_max=acceleration,
        jerk_max=2 * acceleration / window,
    )
    return Case(joint, dt, low + draw(st.floats(0, 1)) * width)


anything = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(-5, 5),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e300, -1e300, 0.0, -2.0, 2.0]),
)
runs = st.lists(st.tuples(anything, st.integers(1, 40)), min_size=1, max_size=20)
"""Goals, and for how many ticks each one stays: limits need time to be reached."""


def follow(envelope: Envelope, goals: list[float]) -> Floats:
    path, out = [float(envelope.position[0])], np.empty(1)
    for goal in goals:
        envelope.apply(np.array([goal]), out)
        path.append(float(out[0]))
    return np.array(path)


def drawn_out(runs: list[tuple[float, int]]) -> list[float]:
    return [goal for goal, ticks in runs for _ in range(ticks)]


def assert_within_all_limits(path: Floats, joint: Joint, dt: float) -> None:
    """A path that starts at rest."""
    path = np.concatenate([[path[0]] * 3, path])
    slack = 1 + 1e-9
    assert np.isfinite(path).all()
    assert path.min() >= min(joint.position_min, path[0])
    assert path.max() <= max(joint.position_max, path[0])
    assert np.abs(np.diff(path)).max() <= joint.velocity_max * dt * slack + ROUNDING
    assert np.abs(np.diff(path, 2)).max() <= joint.acceleration_max * dt**2 * slack + 2 * ROUNDING
    assert joint.jerk_max is not None
    assert np.abs(np.diff(path, 3)).max() <= joint.jerk_max * dt**3 * slack + 4 * ROUNDING


@times(2)
@given(cases(), runs)
def test_no_goal_breaks_any_of_the_four_limits(case: Case, runs: list[tuple[float, int]]) -> None:
    assert_within_all_limits(follow(case.envelope(), drawn_out(runs)), case.joint, case.dt)


@given(cases(), runs, st.floats(0, 1))
def test_a_resting_goal_is_met_and_kept(case: Case, runs: list[tuple[float, int]], where: float) -> None:
    envelope, joint = case.envelope(), case.joint
    follow(envelope, drawn_out(runs))
    goal = joint.position_min + where * (joint.position_max - joint.position_min)
    path = follow(envelope, [goal] * case.settling_ticks())
    assert path[-1] == path[-2] == goal
    assert envelope.at_rest()
    assert (follow(envelope, [goal] * 100) == goal).all()


@given(cases(), st.floats(0, 1))
def test_from_rest_a_resting_goal_is_met_without_overshoot(case: Case, where: float) -> None:
    joint = case.joint
    goal = joint.position_min + where * (joint.position_max - joint.position_min)
    path = follow(case.envelope(), [goal] * case.settling_ticks())
    assert (np.diff(path) * math.copysign(1, goal - case.start) >= -ROUNDING).all()
    assert path[-1] == goal


@given(cases(), runs)
def test_a_stop_keeps_the_jerk_and_ends_where_it_said(case: Case, runs: list[tuple[float, int]]) -> None:
    envelope, goals = case.envelope(), drawn_out(runs)
    before = follow(envelope, goals)
    stop = np.empty(1)
    envelope.stopping_point(stop)
    axis = envelope._axes[0]
    told = [axis.after(tick) for tick in range(axis.ticks_to_stop() + 2)]
    path = follow(envelope, [float(stop[0])] * (len(told) + 1))
    assert_within_all_limits(np.concatenate([before, path[1:]]), case.joint, case.dt)
    assert path[-1] == path[-2] == pytest.approx(stop[0], abs=1e-12)
    assert envelope.at_rest()
    assert np.allclose(path[: len(told)], told, rtol=0, atol=1e-12)


@given(cases(), runs, st.booleans())
def test_what_is_told_of_a_stop_covers_its_way(case: Case, runs: list[tuple[float, int]], jerk: bool) -> None:
    axis = JerkAxis(case.joint, case.dt) if jerk else Axis(case.joint, case.dt)
    axis.reset(case.start)
    for goal in drawn_out(runs):
        axis.follow(goal)
    way = [axis.after(tick) for tick in range(axis.ticks_to_stop() + 1)]
    turns = (np.diff(way) * (way[-1] - way[0]) < -1e-12).any()
    assert axis.wander() > 0 or not turns
    assert max(way) - min(way) <= abs(way[-1] - way[0]) + axis.wander() + 1e-12


@times(0.5)
@given(cases(), runs, anything, anything, st.booleans())
def test_what_was_followed_can_be_undone(
    case: Case, runs: list[tuple[float, int]], undone: float, then: float, jerk: bool
) -> None:
    kind = JerkAxis if jerk else Axis
    axis, other = kind(case.joint, case.dt), kind(case.joint, case.dt)
    for each in (axis, other):
        each.reset(case.start)
        for goal in drawn_out(runs):
            each.follow(goal)
    saved = axis.save()
    axis.follow(undone)
    axis.stopping_point()
    axis.restore(saved)  # type: ignore[arg-type]
    for _ in range(60):
        assert axis.follow(then) == other.follow(then)
        assert (axis.step, axis.limits) == (other.step, other.limits)


def test_a_joint_outside_its_range_only_moves_towards_it(make_joint: MakeJoint) -> None:
    joint = make_joint(jerk_max=400.0)  # a window of 0.1 s
    envelope = Envelope([joint], 0.01)
    envelope.reset(np.array([2.2]))
    assert (follow(envelope, [3.0] * 20) == 2.2).all()
    path = follow(envelope, [0.0] * 5 + [3.0] * 60 + [0.0] * 200)
    assert (np.diff(path) <= ROUNDING).all()
    assert path[-1] == 0
    assert_within_all_limits(path, joint, 0.01)


def test_the_reasons_say_that_the_jerk_holds_a_command_back(make_joint: MakeJoint) -> None:
    envelope = Envelope([make_joint(jerk_max=400.0)], 0.01)
    envelope.reset(np.array([0.0]))
    out = np.empty(1)
    for _ in range(5):
        envelope.apply(np.array([1.0]), out)
    assert envelope.limits[0] == Limit.ACCELERATION | Limit.JERK
    for _ in range(200):
        envelope.apply(np.array([1.0]), out)
    assert envelope.limits[0] == 0
    assert 5 <= envelope.counts[Limit.JERK][0] < 205


def test_a_joint_that_swings_about_its_place_is_not_at_rest(make_joint: MakeJoint) -> None:
    envelope = Envelope([make_joint(jerk_max=400.0)], 0.01)
    envelope.reset(np.array([0.0]))
    out = np.empty(1)
    speeds, resting = [], []
    for tick in range(400):
        envelope.apply(np.array([0.02 * math.sin(2 * math.pi * tick / 21)]), out)
        speeds.append(abs(envelope.velocity[0]))
        resting.append(envelope.at_rest(0.05))
    assert min(speeds[50:]) < 0.05, "it turns"
    assert not any(resting[50:])


def test_a_joint_is_slowed_along_its_jerk_limit(make_joint: MakeJoint) -> None:
    dt = 0.01
    joint = make_joint(
        position_min=-3.0, position_max=3.0, velocity_max=2.0, acceleration_max=20.0, jerk_max=400.0
    )
    envelope = Envelope([joint], dt)
    envelope.reset(np.array([-3.0]))
    out = np.zeros(1)
    commands = [-3.0] * 4
    for tick in range(250):
        if tick == 60:
            envelope.set_speed(0.25)
        envelope.apply(np.array([3.0]), out)
        commands.append(float(out[0]))
    steps = np.diff(commands)
    assert steps[60] == pytest.approx(2.0 * dt)
    assert steps[200] == pytest.approx(0.25 * 2.0 * dt)
    assert np.abs(np.diff(steps, 2)).max() <= 400.0 * dt**3 + ROUNDING


@pytest.mark.parametrize(
    ("acceleration", "jerk", "ticks"),
    [(20.0, 400.0, 10), (1.0, 2 / 0.07, 7), (20.0, 390.0, 11), (20.0, 5000.0, 1), (20.0, 3900.0, 2)],
)
def test_the_mean_is_over_as_many_ticks_as_the_jerk_asks_for(
    make_joint: MakeJoint, acceleration: float, jerk: float, ticks: int
) -> None:
    # 2 * acceleration / jerk, in ticks of 10 ms, rounded up; 0.07 s are 7 ticks, whatever rounding says.
    axis = JerkAxis(make_joint(acceleration_max=acceleration, jerk_max=jerk), 0.01)
    axis.reset(0.0)
    assert axis.ticks_to_stop() == ticks - 1
    step = acceleration * 0.01**2
    found = [axis.follow(step) for _ in range(ticks)]
    assert found == pytest.approx([step * tick / ticks for tick in range(1, ticks + 1)])
    assert axis.step == pytest.approx(step / ticks)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_new_start_is_from_rest_with_no_memory(make_joint: MakeJoint, sign: int) -> None:
    axis, new = (JerkAxis(make_joint(jerk_max=400.0), 0.01) for _ in range(2))
    for _ in range(30):
        axis.follow(sign * -1.0)
    for each in (axis, new):
        each.reset(0.5)
        assert (each.last, each.step, each.limits) == (0.5, 0.0, 0)
    for _ in range(20):
        assert axis.follow(0.5 + sign) == new.follow(0.5 + sign)
        assert axis.wander() == new.wander() == 0.0, "it has not turned"


@pytest.mark.parametrize("sign", [1, -1])
def test_a_way_wanders_while_the_mean_remembers_a_turn(make_joint: MakeJoint, sign: int) -> None:
    axis = JerkAxis(make_joint(jerk_max=400.0), 0.01)  # a mean of ten
    axis.reset(0.5)
    goals = [0.5 + sign * 0.002] + [0.5 - sign] * 15  # a step, none, and back from the third tick on
    wandered = [(axis.follow(goal), axis.wander())[1] for goal in goals]
    assert [each > 0 for each in wandered] == [False] * 2 + [True] * 10 + [False] * 4
    assert wandered[2] == pytest.approx(0.002), "there and back"
