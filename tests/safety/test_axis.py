"""The law of one joint in small numbers: a tick of 1 s, at most 4 rad/s and 1 rad/s²."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import pytest

from drivers.joint import Joint
from safety.axis import Axis, Limit

TOP, BRAKE = 4.0, 1.0
POSITION, VELOCITY, ACCELERATION, NOT_FINITE = list(Limit)[:4]

MakeAxis = Callable[..., Axis]
both_ways = pytest.mark.parametrize("sign", [1, -1])


@pytest.fixture
def make_axis(make_joint: Callable[..., Joint]) -> MakeAxis:
    def make(
        position: float = 0.0,
        lowest: float = -100.0,
        highest: float = 100.0,
        step: float = 0.0,
        brake: float = BRAKE,
    ) -> Axis:
        """An axis that has come to `position` and `step` along a goal that it could follow."""
        joint = make_joint(position_min=lowest, position_max=highest, velocity_max=TOP, acceleration_max=brake)
        ramp = np.linspace(0.0, step, 1 + math.ceil(abs(step) / (0.75 * brake))).tolist()
        axis = Axis(joint, 1.0)
        axis.reset(position - sum(ramp))
        for each in ramp[1:]:
            axis.follow(axis.last + each)
        assert axis.limits == 0
        return axis

    return make


def path(axis: Axis, goals: Iterable[float]) -> list[float]:
    return [axis.follow(goal) for goal in goals]


def steps(axis: Axis, goals: Iterable[float]) -> list[float]:
    return [(axis.follow(goal), axis.step)[1] for goal in goals]


def turned(sign: int, values: Iterable[float]) -> list[float]:
    return [sign * value for value in values]


# -- to a goal that rests


@both_ways
def test_a_goal_that_rests_is_met_by_speeding_up_and_braking_as_hard_as_allowed(
    make_axis: MakeAxis, sign: int
) -> None:
    # 6 rad are covered in steps of 1, 2, 3; from there 4 rad are left, and 7/3 + 4/3 + 1/3 are 4.
    expected = [1, 2, 3, 7 / 3, 4 / 3, 1 / 3, 0, 0]
    assert steps(make_axis(), [sign * 10.0] * 8) == pytest.approx(turned(sign, expected), abs=1e-12)


@both_ways
def test_on_a_long_way_it_cruises_at_its_top_speed_and_says_what_holds_it_back(
    make_axis: MakeAxis, sign: int
) -> None:
    axis = make_axis(-sign * 10.0, -20.0, 20.0)
    why = []
    for step in (1, 2, 3, 4, 4, 3, 2, 1, 0):
        assert steps(axis, [sign * 10.0]) == [sign * step]
        why.append(axis.limits)
    assert why == [*[ACCELERATION] * 3, *[VELOCITY] * 2, *[ACCELERATION] * 2, 0, 0]


@both_ways
def test_a_goal_that_jumps_on_is_not_believed_to_move(make_axis: MakeAxis, sign: int) -> None:
    # From 2.5, 3.5 rad are left: 13/6 + 7/6 + 1/6.
    goals = turned(sign, [3, 3, 6, 6, 6, 6])
    expected = turned(sign, [1, 3 / 2, 13 / 6, 7 / 6, 1 / 6, 0])
    assert steps(make_axis(), goals) == pytest.approx(expected, abs=1e-12)


@both_ways
def test_a_goal_that_it_runs_away_from_is_met_after_a_turn(make_axis: MakeAxis, sign: int) -> None:
    axis = make_axis(0.0, step=sign * 3.0)
    assert steps(axis, [0.0] * 7) == pytest.approx(turned(sign, [2, 1, 0, -1, -1.5, -0.5, 0]), abs=1e-12)
    assert axis.last == 0


@both_ways
@pytest.mark.parametrize("beyond", [20.001, 25.0, 1e300])
def test_a_goal_beyond_the_end_of_the_range_is_one_at_its_end(
    make_axis: MakeAxis, sign: int, beyond: float
) -> None:
    axis, other = make_axis(0.0, -20.0, 20.0), make_axis(0.0, -20.0, 20.0)
    assert path(axis, [sign * beyond] * 20) == path(other, [sign * 20.0] * 20)
    assert axis.last == sign * 20.0
    assert (axis.limits, other.limits) == (POSITION, 0)


# -- with a goal that moves


@both_ways
def test_a_goal_within_the_limits_passes_as_it_is(make_axis: MakeAxis, sign: int) -> None:
    axis = make_axis(sign * -10.0)
    for goal in turned(sign, [-9.5, -8.25, -6.25, -3.5, -0.25, 2.25, 4.0, 4.75, 4.5, 3.5, 1.75, -0.75, -4.0]):
        assert axis.follow(goal) == goal
        assert axis.limits == 0


@both_ways
def test_a_goal_that_moves_is_believed_in_its_second_step_and_met_at_its_speed(
    make_axis: MakeAxis, sign: int
) -> None:
    goals = turned(sign, [2, 4, 6, 8, 10])
    assert path(make_axis(), goals) == turned(sign, [1, 3, 6, 8, 10])


@both_ways
def test_a_goal_that_turns_or_starts_anew_is_not_believed_at_once(make_axis: MakeAxis, sign: int) -> None:
    assert path(make_axis(), turned(sign, [-3, -2])) == turned(sign, [-1, -2])
    # It was met at rest, although the joint still moved: of 1.5 rad, 1.25 are a step that can be braked.
    assert path(make_axis(), turned(sign, [3, 3, 3, 4.5])) == turned(sign, [1, 2.5, 3, 4.25])
    # It is believed to move by 0.5; of the 2 rad that are left, 1.5 can be braked.
    assert path(make_axis(), turned(sign, [1.5, 2, 4.5])) == turned(sign, [1, 2, 4])


@both_ways
def test_a_goal_that_comes_faster_than_the_joint_moves_is_met_as_if_at_top_speed(
    make_axis: MakeAxis, sign: int
) -> None:
    # From 12 to 7.5 it is believed to have come by 4; 11.5 rad are left, of which 4.3 can be braked.
    found = path(make_axis(), turned(sign, [-3, 19, 12, 7.5]))
    assert found == pytest.approx(turned(sign, [-1, -1, 0, 0.3]))


@both_ways
def test_where_it_once_came_to_rest_is_a_place_like_any_other_later(make_axis: MakeAxis, sign: int) -> None:
    stopped, other = make_axis(step=sign * 3.0), make_axis(sign * 3.0)
    stop = stopped.stopping_point()
    assert path(stopped, [stop] * 5)[-1] == stop == sign * 3.0
    assert path(stopped, turned(sign, [4, 5, 1, 2, 3])) == turned(sign, [4, 5, 5, 4, 3.5]), "it moves by 1"
    path(other, turned(sign, [4, 5, 1, 2, 3]))
    away_and_back = turned(sign, [2.5, 1.5, 0.5, -0.5, -1.0, -0.5, 0.1, 3.0, 3.0, 3.0])
    jumps = turned(sign, [-5, -5, -5, -3, -1, 1, 3, 5, 7])
    for goals in (away_and_back, jumps):
        assert path(stopped, goals) == path(other, goals)


@both_ways
def test_no_goal_gets_even_a_millionth_more_than_the_limits(make_axis: MakeAxis, sign: int) -> None:
    for excess in (1e-7, 5e-7):
        assert make_axis().follow(sign * (BRAKE + excess)) == sign * BRAKE
        assert make_axis(step=sign * 3.0).follow(sign * (2.0 - excess)) == sign * 2.0
        assert make_axis(step=sign * 3.75).follow(sign * (TOP + excess)) == sign * TOP


@both_ways
def test_it_turns_no_faster_than_its_acceleration_allows(make_axis: MakeAxis, sign: int) -> None:
    goals = turned(sign, [-3, -6, -9, -12, -15])
    assert steps(make_axis(step=sign * 3.0), goals) == turned(sign, [2, 1, 0, -1, -2])


# -- at the end of the range


@both_ways
def test_a_goal_that_runs_into_the_end_of_the_range_is_left_in_time(make_axis: MakeAxis, sign: int) -> None:
    # At 14, 6 rad are left, which are 3 + 2 + 1.
    axis = make_axis(0.0, *sorted((sign * 20.0, sign * -30.0)))
    goals = turned(sign, [1, 3, 6, 10, 14, 18, 22, 26, 30])
    assert path(axis, goals) == turned(sign, [1, 3, 6, 10, 14, 17, 19, 20, 20])


@both_ways
@pytest.mark.parametrize("other_end", [-50.0, 40.0])
@pytest.mark.parametrize("last", [0.0, 1e-6, 5e-5, 1e-3, 0.3, 1.0, 2.5, 3.99])
def test_wherever_braking_before_the_end_begins_it_is_within_the_limits(
    make_axis: MakeAxis, sign: int, last: float, other_end: float
) -> None:
    # The goal comes by the last place from which a joint at top speed can stop (10 rad), and `last` after it.
    ends = sorted((sign * 100.0, sign * other_end))
    axis = make_axis(sign * (100 - 10 - 3 * TOP + last), *ends, step=sign * (TOP - 1e-6))
    found = [axis.step, *steps(axis, [axis.last + sign * (TOP - 1e-6) * k for k in range(1, 20)])]
    assert axis.last == sign * 100.0
    assert max(map(abs, found)) <= TOP
    assert np.abs(np.diff(found)).max() <= BRAKE * (1 + 1e-9)
    assert min(turned(sign, found)) >= 0


@both_ways
def test_outside_its_range_it_moves_in_and_never_out_again(make_axis: MakeAxis, sign: int) -> None:
    axis = make_axis(sign * 23.0, -20.0, 20.0)
    assert path(axis, [sign * 24.0] * 3) == [sign * 23.0] * 3
    assert path(axis, [sign * 20.5]) == [sign * 22.0]
    assert path(axis, [sign * 24.0] * 3) == [sign * 22.0] * 3
    assert path(axis, [0.0] * 40)[-1] == 0
    assert path(axis, [sign * 24.0] * 40)[-1] == sign * 20.0


# -- stops


@both_ways
def test_a_goal_that_is_no_number_brakes_as_hard_as_allowed(make_axis: MakeAxis, sign: int) -> None:
    for bad in (math.nan, math.inf, -math.inf):
        axis = make_axis(step=sign * 3.5)
        assert steps(axis, [bad] * 5) == turned(sign, [2.5, 1.5, 0.5, 0, 0])
        assert axis.limits == NOT_FINITE


@both_ways
def test_what_is_told_of_a_stop_is_what_comes(make_axis: MakeAxis, sign: int) -> None:
    for step, brake, places in (
        (4.0, 1.0, [3, 5, 6, 6]),
        (2.5, 1.0, [1.5, 2.0]),
        (2.0, 0.5, [1.5, 2.5, 3.0, 3.0]),
        (0.5, 1.0, []),
        (0.0, 1.0, []),
    ):
        axis = make_axis(sign * 10.0, step=sign * step, brake=brake)
        expected = turned(sign, [10 + place for place in places])
        end = expected[-1] if expected else sign * 10.0
        assert axis.ticks_to_stop() == len(places)
        assert [axis.after(tick) for tick in range(1, len(places) + 1)] == expected
        assert axis.after(0) == sign * 10.0
        assert axis.after(len(places) + 7) == end
        assert axis.stopping_point() == end
        assert path(axis, [end] * (len(places) + 1)) == [*expected, end]
        assert axis.at_rest(0.0)
        assert axis.wander() == 0


def test_at_rest_is_a_matter_of_the_step(make_axis: MakeAxis) -> None:
    for sign in (1, -1):
        axis = make_axis(step=sign * 0.5)
        assert axis.at_rest(0.5)
        assert not axis.at_rest(0.49)


@both_ways
def test_a_new_start_is_from_rest_with_no_memory(make_axis: MakeAxis, sign: int) -> None:
    axis, new = make_axis(sign * 10.0, step=sign * 3.0), make_axis(sign * 7.0)
    path(axis, [math.nan, math.nan])
    assert axis.limits == NOT_FINITE
    axis.reset(sign * 7.0)
    assert (axis.last, axis.step, axis.limits) == (sign * 7.0, 0.0, 0)
    assert axis.save() == new.save()
    assert path(axis, [sign * 9.0] * 5) == path(new, [sign * 9.0] * 5)


# -- a lower speed


@both_ways
def test_a_joint_that_is_faster_than_a_new_top_speed_brakes_to_it(make_axis: MakeAxis, sign: int) -> None:
    axis = make_axis(step=sign * 3.5)
    axis.set_speed(0.25)
    assert steps(axis, [sign * 80.0] * 4) == turned(sign, [2.5, 1.5, 1.0, 1.0])
    assert axis.limits == VELOCITY
    axis.set_speed(1.0)
    assert steps(axis, [sign * 80.0] * 4) == pytest.approx(turned(sign, [2, 3, 4, 4]))
