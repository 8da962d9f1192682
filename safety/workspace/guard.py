"""Lets a tick's commands pass only if the robot can stop after them, inside its workspace and not in itself.

What is checked is the step to the new commands, and the way on which all joints would come to rest if they braked
from there on. When it
is free, the commands are taken. Otherwise all joints brake, on the way that was found free a tick ago: so there is
a free way to rest in every tick, whatever the goals are. The joints stand then until their goals are allowed.

How a whole way is checked at some points. A point is free by d when the tool is at least d away from each
border, and each part of the robot from each other. Joints turn one way only while they brake, so between two
points nothing moves further than length = sum(reach * |turn|) over the joints; if the points are free by d1 and
d2, and d1 + d2 is at least that length, everything between them is free. If not, a point between them is looked
at. So that this ends near a border, points have to keep a margin, and what lies between them only has to stay
inside. A way that is not proven with MOST_POINTS points counts as not free: close to a border, a robot that has
far to brake is stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any, NamedTuple, Protocol

from drivers.joint import Joint
from safety.axis import Axis, Limit
from safety.jerk import JerkAxis

MOST_POINTS = 8
"""Configurations that are looked at in a tick, at most; two more when the robot stands and waits."""

_ROUNDING = 1e-9
_STILL = 1e-9
"""Joints that step by less, rad, stand."""
_WORKSPACE, _COLLISION = int(Limit.WORKSPACE), int(Limit.COLLISION)

Clearances = tuple[list[float], float]
"""Distance from each border, and the smallest one between two parts of the robot; m, negative when crossed."""


class Space(Protocol):
    """Where a robot is, and what is near it."""

    @property
    def margin(self) -> float:
        """Distance to keep, m."""

    @property
    def reach(self) -> Sequence[float]:
        """How far 1 rad of each joint moves anything that is watched at most, m."""

    def clearances(self, angles: Sequence[float]) -> Clearances:
        """What the configuration `angles` (rad, in the robot's order) has for room."""


class _Point(NamedTuple):
    """A configuration on the way to rest."""

    tick: int
    """Ticks of braking until there."""
    angles: Sequence[float]
    free: float
    """How far anything may move from here and stay inside, m."""
    allowed: bool
    """Whether it keeps its distances."""
    why: int
    """What is nearest, as a limit."""
    borders: list[float]
    apart: float


class Guard:
    """Follows all joints' goals, or brakes all joints."""

    def __init__(self, joints: Sequence[Joint], axes: Sequence[Axis | JerkAxis], space: Space) -> None:
        """`axes`: the laws of the joints, in the robot's order. Call `reset` first."""
        self._ranges = [(joint.position_min, joint.position_max) for joint in joints]
        self._axes = axes
        self._space = space
        self._margin = space.margin
        self._reach = space.reach
        self._kept: list[float] = []
        """Distance to keep from each border, m: the margin, or less for a robot that was closer; it only grows."""
        self._kept_apart = 0.0
        """The same between two parts of the robot."""
        self._close = False
        """Whether one of these is less than the margin."""
        self._before = _Point(0, (), 0.0, False, 0, [], 0.0)
        """Where the last commands were; `angles` is empty when braking led there."""
        self.limits = 0
        """Why all joints brake or stand: WORKSPACE, COLLISION or, while all is well, 0."""

    def reset(self, angles: Sequence[float]) -> None:
        """Start over at rest in a configuration, rad. A robot that is outside may stay or come back, as long as it
        gets no deeper."""
        self._keep(*self._space.clearances(angles))
        self._before = self._look(0, angles)
        self.limits = 0

    def follow(self, goals: Sequence[float]) -> list[float]:
        """The commands for the goals, rad; those of a stop when the way to rest from them is not free."""
        axes = self._axes
        if self.limits and not all(axis.at_rest(_STILL) for axis in axes):
            return self._brake()
        # Standing, it waits for goals that are allowed: else it would creep towards the border in jerks.
        if self.limits and (refused := self._refuse_goals(goals)):
            self.limits = refused
            return self._brake()
        if not self._before.angles:
            self._before = self._look(0, [axis.last for axis in axes])
        saved: list[Any] = [axis.save() for axis in axes]
        commands = [axis.follow(goal) for axis, goal in zip(axes, goals, strict=True)]
        self.limits = self._refuse(commands)
        if not self.limits:
            return commands
        for axis, state in zip(axes, saved, strict=True):
            axis.restore(state)
        return self._brake()

    def _brake(self) -> list[float]:
        self._before = self._before._replace(angles=())
        return [axis.follow(axis.stopping_point()) for axis in self._axes]

    def _refuse_goals(self, goals: Sequence[float]) -> int:
        """Why the robot may not be where its goals are; 0 when it may."""
        if not all(isfinite(goal) for goal in goals):
            return self.limits
        inside = [min(max(goal, low), high) for goal, (low, high) in zip(goals, self._ranges, strict=True)]
        place = self._look(0, inside)
        return 0 if place.allowed else place.why

    def _refuse(self, commands: list[float]) -> int:
        """Why the way to rest from these commands is not free; 0 when it is."""
        axes = self._axes
        ticks = max(axis.ticks_to_stop() for axis in axes)
        astray = 2 * sum(axis.wander() * far for axis, far in zip(axes, self._reach, strict=True))
        here = self._look(0, commands)
        if not here.allowed:
            return here.why
        if not self._proven(self._before, here, astray):
            return here.why
        before, looked, ahead = here, [here], []
        if ticks:
            ahead.append(self._look(ticks, [axis.after(ticks) for axis in axes]))
            looked += ahead
        while ahead:  # the points after `here`, the next one last
            there = ahead[-1]
            if not there.allowed:
                return there.why
            if self._proven(here, there, astray):
                here = ahead.pop()
            elif len(looked) >= MOST_POINTS or there.tick - here.tick <= 1:
                return there.why
            else:
                middle = (here.tick + there.tick) // 2
                ahead.append(self._look(middle, [axis.after(middle) for axis in axes]))
                looked.append(ahead[-1])
        if self._close:
            self._come_back(looked)
        self._before = before
        return 0

    def _proven(self, here: _Point, there: _Point, astray: float) -> bool:
        """Whether all that lies between two points is free."""
        turns = zip(here.angles, there.angles, self._reach, strict=True)
        return here.free + there.free >= sum(abs(a - b) * far for a, b, far in turns) + astray

    def _look(self, tick: int, angles: Sequence[float]) -> _Point:
        borders, apart = self._space.clearances(angles)
        free, why = apart - self._kept_apart, _COLLISION
        for distance, kept in zip(borders, self._kept, strict=True):
            if distance - kept < free:
                free, why = distance - kept, _WORKSPACE
        return _Point(tick, angles, free + self._margin, free >= -_ROUNDING, why, borders, apart)

    def _come_back(self, looked: Sequence[_Point]) -> None:
        """A robot that was too close has to keep what it gains, as far as it has it on all of its way to rest."""
        gained = [min(distances) for distances in zip(*(point.borders for point in looked), strict=True)]
        borders = [max(pair) for pair in zip(self._kept, gained, strict=True)]
        self._keep(borders, max(self._kept_apart, min(point.apart for point in looked)))

    def _keep(self, borders: Sequence[float], apart: float) -> None:
        self._kept = [min(self._margin, distance) for distance in borders]
        self._kept_apart = min(self._margin, apart)
        self._close = min(self._kept_apart, *self._kept, self._margin) < self._margin
