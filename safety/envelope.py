"""The envelope: limits that a command may never leave, and the last function that every command passes.

All laws are in discrete time and relative to the last command, never to the measurement. Steps are angles per
tick (rad): with period dt, `top` = v_max * dt and `brake` = a_max * dt² is the most a step may change per tick.

Braking. A joint that makes a step w and then brakes (w, w - brake, w - 2 brake, ...) covers, with
n = floor(w / brake), the distance D(w) = (n + 1) w - brake n (n + 1) / 2. Its inverse is the largest step after
which the joint can still come to rest within a room r:

    n = floor(sqrt(2 r / brake + 1/4) - 1/2),    step(r) = r / (n + 1) + n brake / 2

This is the discrete form of v = sqrt(2 a r). D(w) - w = D(w - brake), so after step(r) the room left is exactly
what braking at a_max needs: a resting goal is reached without overshoot or chatter, and a wall is never run into.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntFlag

import numpy as np

from drivers.joint import Joint
from drivers.state import Floats, Ints
from safety.errors import EnvelopeError

TOLERANCE = 1e-6
"""A command that misses its goal by less than this, rad, is not counted as limited."""


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


class Envelope:
    """Clamps position, velocity and acceleration of all joints, every tick, without allocating.

    A goal that moves within the limits passes unchanged, bit by bit. Any other goal is approached as fast as
    the limits allow, braking early enough to meet it at its own speed; a goal's speed is believed only when it
    has had it for two ticks, so a jump is never mistaken for motion. A joint that is outside its range when
    armed may stay or move towards the range, never further out.
    """

    def __init__(self, joints: Sequence[Joint], period_s: float) -> None:
        """`joints`: in the robot's order. `period_s`: the time between two calls of `apply`, s."""
        count = len(joints)
        self._names = [joint.name for joint in joints]
        self._rate = np.full(count, 1.0 / period_s)
        self._minimum = np.array([joint.position_min for joint in joints])
        self._maximum = np.array([joint.position_max for joint in joints])
        self._top = np.array([joint.velocity_max * period_s for joint in joints])
        self._brake = np.array([joint.acceleration_max * period_s**2 for joint in joints])

        self.limits: Ints = np.zeros(count, np.int64)
        """`Limit` bits of the last tick, shape (joints,)."""
        self._counts = np.zeros((len(Limit), count), np.int64)
        self.counts: dict[Limit, Ints] = dict(zip(Limit, self._counts, strict=True))
        """Ticks since the start in which each limit acted, by joint, shape (joints,)."""

        # A goal this close to the middle leaves room to brake from top speed, whatever comes next.
        ticks = np.floor(self._top / self._brake)
        stopping = (ticks + 1) * self._top - self._brake * ticks * (ticks + 1) / 2
        self._middle = 0.5 * (self._minimum + self._maximum)
        inside = 0.5 * (self._maximum - self._minimum) - stopping
        self._easy = np.stack([self._top, self._brake, inside])
        self._asked = np.empty((3, count))
        self._asked_move, self._asked_change, self._asked_place = self._asked
        self._easily = np.empty((3, count), np.bool_)

        self._ready = False
        self._tracking = False  # the last command was its goal, in its last step as well
        self._limited = False  # some bit of `limits` is set
        self._outside = False  # some joint is outside its range
        self._stopping = False  # `_rest` was handed out and may come back as a goal
        self._lower = self._minimum.copy()
        self._upper = self._maximum.copy()
        self._last = np.zeros(count)
        self._step = np.zeros(count)
        self._goal = np.zeros(count)
        self._rest = np.full(count, np.nan)
        self._slowest = np.zeros(count)  # the goal's last step, split by sign: the range of speeds that a goal
        self._fastest = np.zeros(count)  # which moves now, too, is believed to have

        # numpy takes its fast path only for operands of one shape: constants are arrays as well.
        self._zero = np.zeros(count)
        self._top_back = -self._top
        self._top_both = np.stack([self._top, self._top])
        self._per_half_brake = np.stack([2.0 / self._brake] * 3)
        self._half_brake = np.stack([0.5 * self._brake] * 3)
        self._quarter, self._half, self._one = (np.full((3, count), value) for value in (0.25, 0.5, 1.0))
        self._room, self._ticks, self._divisor, self._stride = (np.empty((3, count)) for _ in range(4))
        self._room_goal, self._room_up, self._room_down = self._room
        self._stride_goal, self._stride_ends = self._stride[0], self._stride[1:]
        self._velocity = np.empty(count)
        self._reach = np.empty((2, count))
        self._reach_up, self._reach_down = self._reach
        self._wanted, self._move, self._error, self._low, self._high, self._next, self._speed = (
            np.empty(count) for _ in range(7)
        )
        self._finite, self._mask = (np.empty(count, np.bool_) for _ in range(2))

        self._almost_top = self._top * (1 - TOLERANCE)
        self._tolerance = np.full((2, count), TOLERANCE)
        self._gap = np.empty((2, count))
        self._beyond, self._short = self._gap
        self._hit = np.zeros((len(Limit), count), np.bool_)
        self._hit_number = np.zeros((len(Limit), count), np.int64)
        self._bits = np.array(list(Limit), np.int64)

    def reset(self, position: Floats) -> None:
        """Start over from standstill at the measured `position`, rad, shape (joints,).

        Raises EnvelopeError when a joint has no position.
        """
        if position.shape != self._last.shape:
            raise EnvelopeError(
                f"found positions of shape {position.shape}, expected one for each of {len(self._names)} joints"
            )
        unknown = [name for name, known in zip(self._names, np.isfinite(position), strict=True) if not known]
        if unknown:
            raise EnvelopeError(
                f"no measured position of {', '.join(unknown)}; wait until every joint has answered"
            )
        self._last[:] = position
        self._goal[:] = position
        for array in (self._step, self._slowest, self._fastest, self.limits):
            array.fill(0)
        self._limited = self._stopping = False
        self._narrow()
        self._ready = True
        self._tracking = not self._outside

    def apply(self, goal: Floats, out: Floats) -> None:
        """Write the command that comes closest to `goal` within all limits into `out`.

        Both: joint angles, rad, shape (joints,); they may be the same array. Whatever the goal holds, the command
        is finite. Raises EnvelopeError when `reset` was never called.
        """
        if not self._ready:
            raise EnvelopeError("the envelope does not know where the joints are; call reset first")
        if self._tracking and self._passes(goal):
            np.copyto(out, self._last)
            return
        self._limit(goal)
        np.copyto(out, self._last)

    def _passes(self, goal: Floats) -> bool:
        """Take the goal as it is, if every joint follows easily; false, and nothing changed, otherwise.

        This is what nearly every tick needs, in a fifth of the array operations. It never lets through what
        `_limit` would not: there, a joint that met its last goal exactly may step by `brake` more or less than
        it did. NaN compares false.
        """
        last, move = self._last, self._asked_move
        np.subtract(goal, last, move)
        np.subtract(move, self._step, self._asked_change)
        np.subtract(goal, self._middle, self._asked_place)
        np.abs(self._asked, self._asked)
        np.less_equal(self._asked, self._easy, self._easily)
        if np.count_nonzero(self._easily) != self._easily.size:
            return False
        np.subtract(goal, last, self._step)
        np.copyto(last, goal)
        np.copyto(self._goal, goal)
        np.minimum(self._step, self._zero, out=self._slowest)
        np.maximum(self._step, self._zero, out=self._fastest)
        if self._limited:
            self.limits.fill(0)
            self._limited = False
        return True

    def _limit(self, goal: Floats) -> None:
        """Move the last command as close to the goal as all limits allow."""
        wanted, move, error, last, step = self._wanted, self._move, self._error, self._last, self._step
        low, high = self._low, self._high

        np.isfinite(goal, self._finite)
        if np.count_nonzero(self._finite) == len(wanted):
            np.maximum(goal, self._lower, out=wanted)
        else:
            self.stopping_point(wanted)
            np.copyto(wanted, goal, where=self._finite)
            np.maximum(wanted, self._lower, out=wanted)
        np.minimum(wanted, self._upper, out=wanted)

        # The goal's own step: what it has in common with the step before, no more than the joint's top speed.
        np.subtract(wanted, self._goal, move)
        np.copyto(self._goal, wanted)
        np.maximum(move, self._top_back, out=move)
        np.minimum(move, self._top, out=move)
        np.maximum(move, self._slowest, out=error)
        np.minimum(error, self._fastest, out=error)
        np.minimum(move, self._zero, out=self._slowest)
        np.maximum(move, self._zero, out=self._fastest)
        if self._stopping:
            np.equal(wanted, self._rest, self._mask)
            np.copyto(error, self._zero, where=self._mask)
            self._stopping = bool(np.count_nonzero(self._mask))

        # What is left besides that, and the room to both ends of the range; then how far each lets the joint go.
        np.add(error, last, error)
        np.subtract(wanted, error, error)
        np.abs(error, self._room_goal)
        np.subtract(self._upper, last, self._room_up)
        np.subtract(last, self._lower, self._room_down)
        self._longest_steps()

        np.copysign(self._stride_goal, error, move)
        np.subtract(error, move, error)
        np.subtract(wanted, error, self._next)

        np.minimum(self._stride_ends, self._top_both, out=self._reach)
        np.add(step, self._brake, high)
        np.minimum(high, self._reach_up, out=high)
        np.add(high, last, high)
        np.negative(self._reach_down, self._reach_down)
        np.subtract(step, self._brake, low)
        np.maximum(low, self._reach_down, out=low)
        np.add(low, last, low)
        np.maximum(self._next, low, out=self._next)
        np.minimum(self._next, high, out=self._next)
        # The steps above never lead out of the range but by rounding; not even that may happen.
        np.maximum(self._next, self._lower, out=self._next)
        np.minimum(self._next, self._upper, out=self._next)

        np.subtract(self._next, last, step)
        np.copyto(last, self._next)
        if self._outside:
            self._narrow()
        np.not_equal(last, goal, self._mask)
        if np.count_nonzero(self._mask):
            self._tracking = False
            self._explain(goal)
            return
        np.add(self._slowest, self._fastest, move)
        np.not_equal(move, step, self._mask)
        self._tracking = not (np.count_nonzero(self._mask) or self._outside or self._stopping)
        if self._limited:
            self.limits.fill(0)
            self._limited = False

    def stopping_point(self, out: Floats) -> None:
        """Write where each joint comes to rest, rad, shape (joints,), when it brakes from now on.

        Given to `apply` as the goal from the next tick on, it ramps every joint down without turning back.
        """
        speed, ticks = self._speed, self._high
        np.abs(self._step, speed)
        np.divide(speed, self._brake, ticks)
        np.floor(ticks, ticks)
        np.multiply(speed, ticks, speed)
        np.multiply(ticks, self._half_brake[0], self._low)
        np.add(ticks, self._one[0], ticks)
        np.multiply(self._low, ticks, self._low)
        np.subtract(speed, self._low, speed)
        np.copysign(speed, self._step, speed)
        np.add(self._last, speed, speed)
        np.maximum(speed, self._lower, out=speed)
        np.minimum(speed, self._upper, out=self._rest)
        self._stopping = True
        self._tracking = False
        np.copyto(out, self._rest)

    @property
    def position(self) -> Floats:
        """The last command, rad, shape (joints,); the next tick overwrites it."""
        return self._last

    @property
    def velocity(self) -> Floats:
        """Speed of the last command, rad/s, shape (joints,); the next reading overwrites it."""
        np.multiply(self._step, self._rate, self._velocity)
        return self._velocity

    def at_rest(self, eps: float = 1e-6) -> bool:
        """Whether no joint is commanded to move faster than `eps`, rad/s."""
        return bool(np.abs(self.velocity).max(initial=0.0) <= eps)

    def _longest_steps(self) -> None:
        """`stride` = the longest step after which each joint can stop within `room`."""
        room, ticks, stride = self._room, self._ticks, self._stride
        np.multiply(room, self._per_half_brake, ticks)
        np.add(ticks, self._quarter, ticks)
        np.sqrt(ticks, ticks)
        np.subtract(ticks, self._half, ticks)
        np.floor(ticks, ticks)
        np.add(ticks, self._one, self._divisor)
        np.divide(room, self._divisor, stride)
        np.multiply(ticks, self._half_brake, ticks)
        np.add(stride, ticks, stride)

    def _narrow(self) -> None:
        """The range of a joint outside its limits reaches as far as the joint, and shrinks with it."""
        np.maximum(self._maximum, self._last, out=self._upper)
        np.minimum(self._minimum, self._last, out=self._lower)
        self._outside = bool((self._upper > self._maximum).any() or (self._lower < self._minimum).any())

    def _explain(self, goal: Floats) -> None:
        """Say which limits kept the commands from their goals."""
        hit = self._hit
        np.subtract(goal, self._wanted, self._beyond)
        np.subtract(self._wanted, self._last, self._short)
        np.abs(self._gap, self._gap)
        np.greater(self._gap, self._tolerance, hit[:2])
        np.greater_equal(np.abs(self._step, self._speed), self._almost_top, self._mask)
        np.greater(hit[1], self._mask, hit[2])  # of truths: the first and not the second
        np.logical_and(hit[1], self._mask, hit[1])
        np.logical_not(self._finite, hit[3])
        if np.count_nonzero(hit[3]):
            np.logical_and(hit[:3], self._finite, hit[:3])
        self._hit_number[:] = hit
        np.add(self._counts, self._hit_number, self._counts)
        np.dot(self._bits, self._hit_number, self.limits)
        self._limited = True
