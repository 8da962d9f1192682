"""The guard by itself, in round numbers: which places it looks at, what it lets pass, and why it does not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from drivers.joint import Joint
from safety.axis import Limit
from safety.workspace.guard import MOST_POINTS, Guard

MARGIN = 1 / 64
FREE = 1 / 8
"""The room that there is everywhere in most of these tests: two points are proven together over twice this way."""


class Brakes:
    """An axis that obeys at once, and is at `stop[k]` beyond its command after k ticks of braking."""

    def __init__(self, stop: Sequence[float] = (), wander: float = 0.0) -> None:
        self.stop = stop
        self.last = 0.0
        self.rests = True
        self.astray = wander
        self.restored: list[float] = []

    def save(self) -> float:
        return self.last

    def restore(self, state: float) -> None:
        self.restored.append(state)
        self.last = state

    def follow(self, goal: float) -> float:
        self.last = goal
        return goal

    def at_rest(self, step: float) -> bool:
        assert step == 1e-9
        return self.rests

    def stopping_point(self) -> float:
        return self.last + 0.001

    def ticks_to_stop(self) -> int:
        return len(self.stop)

    def wander(self) -> float:
        return self.astray

    def after(self, ticks: int) -> float:
        return self.last + self.stop[ticks - 1] if self.stop else self.last


class Room:
    """What there is at a place, by the first joint's angle; every look is noted."""

    margin = MARGIN

    def __init__(
        self,
        border: Callable[[float], float] = lambda x: FREE,
        apart: Callable[[float], float] = lambda x: 1.0,
        reach: Sequence[float] = (1.0,),
    ) -> None:
        self.border, self.apart, self.reach = border, apart, reach
        self.seen: list[float] = []

    def clearances(self, angles: Sequence[float]) -> tuple[list[float], float]:
        self.seen.append(angles[0])
        return [1.0, self.border(angles[0])], self.apart(angles[0])


def guard(make_joint: Callable[..., Joint], room: Room, *axes: Brakes, at: float = 0.0) -> Guard:
    joints = [make_joint(f"j{i}", position_min=-2.0, position_max=2.0) for i in range(len(axes))]
    made = Guard(joints, axes, room)  # type: ignore[arg-type]
    made.reset([at] + [0.0] * (len(axes) - 1))
    for axis in axes:
        axis.last = at
    room.seen.clear()
    return made


def even(ticks: int, step: float) -> list[float]:
    return [step * (tick + 1) for tick in range(ticks)]


def test_a_robot_that_stands_at_once_is_looked_at_where_it_goes_to(make_joint: Any) -> None:
    room = Room()
    it = guard(make_joint, room, Brakes())
    assert it.follow([2 * FREE]) == [2 * FREE]
    assert (it.limits, room.seen) == (0, [2 * FREE])


def test_a_step_that_is_longer_than_both_ends_prove_is_refused(make_joint: Any) -> None:
    axis = Brakes()
    it = guard(make_joint, Room(), axis)
    assert it.follow([2 * FREE + 1e-6]) == [0.001], "it brakes from where it was"
    assert (it.limits, axis.restored) == (Limit.WORKSPACE, [0.0])


def test_the_way_to_rest_is_halved_until_it_is_proven(make_joint: Any) -> None:
    room = Room()
    it = guard(make_joint, room, Brakes(even(8, FREE / 2)))
    assert it.follow([0.25]) == [0.25]
    assert (it.limits, room.seen) == (0, [0.25, 0.75, 0.5])


def test_each_half_is_looked_at_in_turn(make_joint: Any) -> None:
    room = Room()
    it = guard(make_joint, room, Brakes(even(16, FREE / 2)))
    it.follow([0.25])
    assert (it.limits, room.seen) == (0, [0.25, 1.25, 0.75, 0.5, 1.0])


def test_a_way_that_takes_too_many_points_is_not_free(make_joint: Any) -> None:
    room = Room()
    it = guard(make_joint, room, Brakes(even(64, FREE / 2)))
    it.follow([0.25])
    assert it.limits == Limit.WORKSPACE
    assert len(room.seen) == MOST_POINTS


def test_the_last_point_that_may_be_looked_at_counts(make_joint: Any) -> None:
    """The ways between 0.25 and the end are seven of 0.25: with the command's own that is eight points."""
    stops = even(7, 2 * FREE)
    room = Room()
    it = guard(make_joint, room, Brakes(stops))
    it.follow([0.25])
    assert it.limits == 0
    assert sorted(room.seen) == [0.25 + 0.25 * k for k in range(MOST_POINTS)]


@pytest.mark.parametrize(("ticks", "seen"), [(1, [0.25, 1.0]), (2, [0.25, 1.75, 1.0]), (3, [0.25, 2.5, 1.0])])
def test_between_two_ticks_there_is_nothing_to_look_at(make_joint: Any, ticks: int, seen: list[float]) -> None:
    room = Room()
    it = guard(make_joint, room, Brakes(even(ticks, 0.75)))
    it.follow([0.25])
    assert (it.limits, room.seen) == (Limit.WORKSPACE, seen)


def test_that_holds_later_on_the_way_too(make_joint: Any) -> None:
    room = Room()
    it = guard(make_joint, room, Brakes([0.25, 1.0]))
    it.follow([0.25])
    assert (it.limits, room.seen) == (Limit.WORKSPACE, [0.25, 1.25, 0.5])


def test_of_a_border_and_a_part_what_is_nearer_after_its_margin_decides(make_joint: Any) -> None:
    """Both keep 1/64; the border is nearer by 1/128."""
    it = guard(make_joint, Room(apart=lambda x: FREE + 1 / 128), Brakes())
    it.follow([2 * FREE + 1e-6])
    assert it.limits == Limit.WORKSPACE


def test_where_it_comes_to_rest_has_to_be_allowed_and_says_why(make_joint: Any) -> None:
    room = Room(apart=lambda x: 1.0 if x < 0.5 else MARGIN / 2)
    it = guard(make_joint, room, Brakes(even(2, 0.125)))
    it.follow([0.25])
    assert (it.limits, room.seen) == (Limit.COLLISION, [0.25, 0.5])


def test_where_it_goes_to_has_to_be_allowed_and_says_why(make_joint: Any) -> None:
    room = Room(apart=lambda x: 1.0 if x < 0.25 else MARGIN / 2)
    it = guard(make_joint, room, Brakes(even(2, 0.125)))
    it.follow([0.25])
    assert (it.limits, room.seen) == (Limit.COLLISION, [0.25])


def test_exactly_the_margin_is_allowed(make_joint: Any) -> None:
    it = guard(make_joint, Room(border=lambda x: MARGIN), Brakes())
    it.follow([2 * MARGIN])
    assert it.limits == 0


@pytest.mark.parametrize(("more", "limits"), [(0.0, 0), (1e-6, Limit.WORKSPACE)])
def test_where_joints_may_stray_the_way_is_longer_on_both_sides(make_joint: Any, more: float, limits: int) -> None:
    """2 (1/128 * 1 + 1/256 * 2) = 1/32, which is what both points have beyond the step of 1/4."""
    axes = Brakes(wander=1 / 128), Brakes(wander=1 / 256 + more)
    it = guard(make_joint, Room(border=lambda x: FREE + 1 / 64, reach=(1.0, 2.0)), *axes)
    it.follow([0.25, 0.0])
    assert it.limits == limits


def test_all_joints_turns_count_by_their_reach(make_joint: Any) -> None:
    room = Room(reach=(1.0, 4.0))
    for second, limits in ((1 / 32, 0), (1 / 32 + 1e-6, Limit.WORKSPACE)):
        it = guard(make_joint, room, Brakes(), Brakes())
        it.follow([-0.125, second])
        assert it.limits == limits


def test_the_slowest_joint_to_stop_decides_how_far_is_looked(make_joint: Any) -> None:
    room = Room()
    room.reach = (1.0, 1.0)
    first, second = Brakes(even(3, 0.01)), Brakes()
    it = guard(make_joint, room, first, second)
    it.follow([0.1, 0.0])
    assert room.seen == [0.1, pytest.approx(0.13)]


def test_the_next_step_is_proven_from_the_last_commands(make_joint: Any) -> None:
    room = Room()
    it = guard(make_joint, room, Brakes(even(2, 0.125)))
    it.follow([0.25])
    room.seen.clear()
    it.follow([0.5])
    assert (it.limits, room.seen) == (0, [0.5, 0.75]), "not from where it would have come to rest"


def test_after_braking_it_is_looked_at_again_where_it_is(make_joint: Any) -> None:
    room = Room()
    axis = Brakes()
    it = guard(make_joint, room, axis)
    it.follow([1.0])
    room.seen.clear()
    assert it.follow([0.1]) == [0.1]
    assert (it.limits, room.seen) == (0, [0.1, 0.001, 0.1]), "its goal, itself, its commands"


def test_while_it_still_moves_it_brakes_on_without_a_look(make_joint: Any) -> None:
    room, moving, still = Room(), Brakes(), Brakes()
    room.reach = (1.0, 1.0)
    it = guard(make_joint, room, still, moving)
    it.follow([1.0, 0.0])
    moving.rests = False
    room.seen.clear()
    it.follow([0.1, 0.0])
    assert (it.limits, room.seen) == (Limit.WORKSPACE, [])


def test_standing_it_waits_for_goals_that_are_allowed_within_the_joints_ranges(make_joint: Any) -> None:
    room = Room(border=lambda x: 2.0 if x < 2.0 else 0.0, apart=lambda x: 1.0 if x > -2.0 else 0.0)
    it = guard(make_joint, room, Brakes())
    it.limits = int(Limit.WORKSPACE)
    for goal, inside, limits in ((9.0, 2.0, Limit.WORKSPACE), (-9.0, -2.0, Limit.COLLISION)):
        room.seen.clear()
        it.follow([goal])
        assert (it.limits, room.seen) == (limits, [inside])
    room.seen.clear()
    it.follow([math.nan])
    assert (it.limits, room.seen) == (Limit.COLLISION, []), "a goal that is no number changes nothing"


def test_a_robot_that_is_too_close_may_stay_and_keeps_what_it_gains(make_joint: Any) -> None:
    """The border is as far as the angle; the margin is 16/1024."""
    k = 1 / 1024
    axis = Brakes([0.0])
    it = guard(make_joint, Room(border=lambda x: x), axis, at=4 * k)
    it.follow([4 * k])
    assert it.limits == 0, "it may stay"
    axis.stop = [-2 * k]
    it.follow([8 * k])
    assert it.limits == 0, "it comes back, and would rest at 6"
    axis.stop = [0.0]
    it.follow([6 * k])
    assert it.limits == 0, "it has gained no more than it had on all of its way"
    it.follow([5 * k])
    assert it.limits == Limit.WORKSPACE, "and gives nothing back"
    it.follow([40 * k])
    it.follow([40 * k])
    it.follow([15 * k])
    assert it.limits == Limit.WORKSPACE, "once it was away, the whole margin holds"


def test_a_robot_that_is_too_close_gains_what_it_has_at_the_narrowest_point_of_its_way(make_joint: Any) -> None:
    """In steps of 0.021 rad to 8/1024 m, 5/1024 m one step later, and on with 8/1024 m. 6/1024 m stays allowed."""
    step, k = 0.021, 1 / 1024
    width = {0: 4 * k, 1: 8 * k, 2: 5 * k, 3: 8 * k, 4: 8 * k, 5: 8 * k}
    room = Room(border=lambda x: 6 * k if x == 0.01 else width[round(x / step)])
    axis = Brakes(even(4, step))
    it = guard(make_joint, room, axis)
    it.follow([step])
    assert [round(x / step) for x in room.seen] == [1, 5, 3, 2, 4]
    axis.stop = []
    it.follow([0.01])
    assert it.limits == 0


def test_the_same_between_two_parts_of_the_robot(make_joint: Any) -> None:
    k = 1 / 1024
    axis = Brakes([0.0])
    it = guard(make_joint, Room(apart=lambda x: x), axis, at=4 * k)
    it.follow([8 * k])
    assert it.limits == 0
    it.follow([7 * k])
    assert it.limits == Limit.COLLISION
