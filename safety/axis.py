"""One joint's limits: the law that turns any goal into a command that never leaves them.

All laws are in discrete time and relative to the last command, never to the measurement. Steps are angles per
tick (rad): with period dt, `top` = v_max * dt and `brake` = a_max * dt² is the most a step may change per tick.

Braking. A joint that makes a step w and then brakes (w, w - brake, w - 2 brake, ...) covers, with
n = floor(w / brake), the distance D(w) = (n + 1) w - brake n (n + 1) / 2. Its inverse is the largest step after
which the joint can still come to rest within a room r:

    n = floor(sqrt(2 r / brake + 1/4) - 1/2),    step(r) = r / (n + 1) + n brake / 2

This is the discrete form of v = sqrt(2 a r). D(w) - w = D(w - brake), so after step(r) the room left is exactly
what braking at a_max needs: a resting goal is reached without overshoot or chatter, and a wall is never run into.

Plain numbers, no arrays: with the caches as cold as they are in a tick, an array operation costs about as much as
all the arithmetic of one joint, and there would be sixty of them.
"""

from __future__ import annotations

from enum import IntFlag
from math import copysign, isfinite, sqrt

from drivers.joint import Joint

TOLERANCE = 1e-6
"""A command that misses its goal by less than this, rad, is not counted as limited."""


AxisState = tuple[float, float, int, float, float, float, float, bool, bool, float, float, bool]
"""All that changes in an axis."""


class Limit(IntFlag):
    """Why a command differs from its goal."""

    POSITION = 1
    """The goal lies outside the joint's range."""
    VELOCITY = 2
    """The joint runs at its highest speed and the goal is further away."""
    ACCELERATION = 4
    """The joint speeds up or brakes as hard as it may and is not at the goal."""
    NOT_FINITE = 8
    """The goal is NaN or infinite: the joint brakes to a stop."""
    JERK = 16
    """The command trails the goal, so that its acceleration changes no faster than it may."""
    TORQUE = 32
    """The motor's torque would be too high, or grow too fast: the goal is pulled towards the measured position."""
    WORKSPACE = 64
    """The tool would leave the workspace: all joints brake to a stop."""
    COLLISION = 128
    """Two parts of the robot would come too close: all joints brake to a stop."""


# As plain numbers: flags are slow to join.
_POSITION, _VELOCITY, _ACCELERATION, _NOT_FINITE = (int(limit) for limit in list(Limit)[:4])


class Axis:
    """Follows one joint's goals within its limits."""

    __slots__ = (
        "_almost_top",
        "_brake",
        "_easy_brake",
        "_easy_high",
        "_easy_low",
        "_easy_top",
        "_fastest",
        "_full_top",
        "_goal",
        "_half_brake",
        "_lower",
        "_maximum",
        "_minimum",
        "_outside",
        "_per_half_brake",
        "_rest",
        "_slowest",
        "_stopping",
        "_top",
        "_tracking",
        "_upper",
        "last",
        "limits",
        "step",
    )
    _outside: bool

    def __init__(self, joint: Joint, period_s: float) -> None:
        """`period_s`: the time between two calls of `follow`, s. Call `reset` first."""
        self._minimum = joint.position_min
        self._maximum = joint.position_max
        self._full_top = top = joint.velocity_max * period_s
        self._brake = brake = joint.acceleration_max * period_s**2
        self._half_brake = 0.5 * brake
        self._per_half_brake = 2.0 / brake

        # Between these there is room to brake from top speed, whatever comes next. A little less than the limits:
        # rounding must not let through what `_limit` would not.
        middle = 0.5 * (self._minimum + self._maximum)
        inside = (0.5 * (self._maximum - self._minimum) - top - self._way_to_stop(top)) * (1 - TOLERANCE)
        self._easy_low, self._easy_high = middle - inside, middle + inside
        self._easy_brake = brake * (1 - TOLERANCE)
        self.set_speed(1.0)

        self.limits = 0
        """`Limit` bits of the last tick."""
        self.reset(middle)

    def reset(self, position: float) -> None:
        """Start over from standstill at `position`, rad."""
        self.last = position
        """The last command, rad."""
        self.step = 0.0
        """The last command's step, rad."""
        self.limits = 0
        self._goal = position
        self._slowest = self._fastest = 0.0  # the speeds that a goal which moves now, too, is believed to have
        self._rest = position
        self._stopping = False  # a goal at `_rest` does not move
        self._narrow()
        self._tracking = not self._outside  # the last command was its goal, in its last step as well

    def set_speed(self, factor: float) -> None:
        """Move at `factor` (above 0, at most 1) of the top speed from now on; a faster joint brakes to it."""
        self._top = top = self._full_top * factor
        self._almost_top = self._easy_top = top * (1 - TOLERANCE)

    def follow(self, goal: float) -> float:
        """The command that comes closest to `goal`, rad, within all limits. Finite, whatever the goal is."""
        # Nearly every goal that moves smoothly may be taken as it is. This never lets through what `_limit` would
        # not: there, a joint that met its last goal exactly may step by `brake` more or less than it did.
        if self._tracking:
            step = goal - self.last
            top, brake = self._easy_top, self._easy_brake
            if (
                -top <= step <= top
                and -brake <= step - self.step <= brake
                and self._easy_low <= goal <= self._easy_high
            ):
                self.step = step
                self.last = goal
                self.limits = 0
                return goal
        return self._limit(goal)

    def _limit(self, goal: float) -> float:
        """Move the last command as close to the goal as all limits allow."""
        if self._tracking:
            self._lose_track()
        last, step, lower, upper = self.last, self.step, self._lower, self._upper
        brake = self._brake
        top, braked = self._top, abs(step) - brake
        top = braked if braked > top else top  # faster than a top speed that was lowered

        finite = isfinite(goal)
        wanted = goal if finite else self.stopping_point()
        wanted = lower if wanted < lower else upper if wanted > upper else wanted

        # The goal's own step: what it has in common with the step before, no more than the joint's top speed.
        move = wanted - self._goal
        move = -top if move < -top else top if move > top else move
        speed = self._slowest if move < self._slowest else self._fastest if move > self._fastest else move
        self._goal = wanted
        self._slowest, self._fastest = (move, 0.0) if move < 0 else (0.0, move)
        if self._stopping:
            if wanted == self._rest:
                speed = 0.0
            else:
                self._stopping = False

        # What is left besides that: as much of it as the joint can brake from.
        error = wanted - (speed + last)
        error -= copysign(self._longest_step(abs(error)), error)
        command = wanted - error

        # No further than the joint may speed up or brake, and than the room to the ends of its range allows.
        low, high = step - brake, step + brake
        if self._easy_low <= last <= self._easy_high:
            up = down = top
        else:
            up, down = min(self._longest_step(upper - last), top), min(self._longest_step(last - lower), top)
        low = (low if low > -down else -down) + last
        high = (high if high < up else up) + last
        command = low if command < low else command
        command = high if command > high else command
        # The steps above never lead out of the range but by rounding; not even that may happen.
        command = lower if command < lower else upper if command > upper else command

        self.step = command - last
        self.last = command
        if self._outside:
            self._narrow()
        if command != goal:
            self.limits = self._explain(goal, wanted) if finite else _NOT_FINITE
        else:
            self.limits = 0
            self._tracking = self.step == move and not (self._outside or self._stopping)
        return command

    def stopping_point(self) -> float:
        """Where the joint comes to rest, rad, when it brakes from now on.

        Given to `follow` as the goal from the next tick on, it ramps the joint down without turning back.
        """
        self.expect_rest(self.last + copysign(self._way_to_stop(abs(self.step)), self.step))
        return self._rest

    def expect_rest(self, goal: float) -> None:
        """Take `goal`, if it comes next, for a place to stand at, although it may have moved until now."""
        self._lose_track()
        self._rest = min(max(goal, self._lower), self._upper)
        self._stopping = True

    def at_rest(self, step: float) -> bool:
        """Whether the joint is commanded to move no more than `step` a tick, rad."""
        return abs(self.step) <= step

    # -- where it would be if it braked from now on, and back to what it was: for laws that look at all joints

    def ticks_to_stop(self) -> int:
        """Ticks of braking after which the joint stands."""
        return int(abs(self.step) / self._brake)

    def after(self, ticks: int) -> float:
        """Where the joint is after `ticks` of braking from now on, rad; the way there never turns back."""
        count = min(ticks, self.ticks_to_stop())
        way = abs(self.step) * count - self._half_brake * count * (count + 1.0)
        return min(max(self.last + copysign(way, self.step), self._lower), self._upper)

    def wander(self) -> float:
        """How far the way to the stop may leave a way that never turns back, rad."""
        return 0.0

    def save(self) -> AxisState:
        """What `restore` takes to undo what was followed since."""
        return (
            self.last,
            self.step,
            self.limits,
            self._goal,
            self._slowest,
            self._fastest,
            self._rest,
            self._stopping,
            self._tracking,
            self._lower,
            self._upper,
            self._outside,
        )

    def restore(self, saved: AxisState) -> None:
        """Be as when `save` was called."""
        (
            self.last,
            self.step,
            self.limits,
            self._goal,
            self._slowest,
            self._fastest,
            self._rest,
            self._stopping,
            self._tracking,
            self._lower,
            self._upper,
            self._outside,
        ) = saved

    def _lose_track(self) -> None:
        """Work out what the short way leaves open: it follows from the last step of a goal that was met."""
        if self._tracking:
            self._tracking = False
            self._goal = self.last
            self._slowest, self._fastest = min(self.step, 0.0), max(self.step, 0.0)

    def _longest_step(self, room: float) -> float:
        """The longest step after which the joint can stop within `room`."""
        ticks = (sqrt(room * self._per_half_brake + 0.25) - 0.5) // 1.0
        return room / (ticks + 1.0) + ticks * self._half_brake

    def _way_to_stop(self, step: float) -> float:
        """How far the joint goes after a step when it brakes: D(step) - step."""
        ticks = step / self._brake // 1.0
        return step * ticks - ticks * self._half_brake * (ticks + 1.0)

    def _narrow(self) -> None:
        """The range of a joint outside its limits reaches as far as the joint, and shrinks with it."""
        self._upper = max(self._maximum, self.last)
        self._lower = min(self._minimum, self.last)
        self._outside = self._upper > self._maximum or self._lower < self._minimum

    def _explain(self, goal: float, wanted: float) -> int:
        """Which limits kept the command from its goal."""
        bits = _POSITION if abs(goal - wanted) > TOLERANCE else 0
        if abs(wanted - self.last) > TOLERANCE:
            bits |= _VELOCITY if abs(self.step) >= self._almost_top else _ACCELERATION
        return bits
