"""The envelope: limits that a command may never leave, and the last function that every command passes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from drivers.joint import Joint
from drivers.state import Floats, Ints
from safety.axis import Axis, Limit
from safety.errors import EnvelopeError


class Envelope:
    """Clamps position, velocity and acceleration of all joints, every tick.

    A goal that moves within the limits passes unchanged, bit by bit. Any other goal is approached as fast as
    the limits allow, braking early enough to meet it at its own speed; a goal's speed is believed only when it
    has had it for two ticks, so a jump is never mistaken for motion. A joint that is outside its range when
    armed may stay or move towards the range, never further out. The law of one joint is in `safety.axis`.
    """

    def __init__(self, joints: Sequence[Joint], period_s: float) -> None:
        """`joints`: in the robot's order. `period_s`: the time between two calls of `apply`, s."""
        self._names = [joint.name for joint in joints]
        self._period_s = period_s
        self._axes = [Axis(joint, period_s) for joint in joints]
        self._ready = False
        self._last: Floats = np.zeros(len(joints))
        self.limits: Ints = np.zeros(len(joints), np.int64)
        """`Limit` bits of the last tick, shape (joints,)."""
        self._limits = [0] * len(joints)  # the same, quicker to compare

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
        for axis, angle in zip(self._axes, position.tolist(), strict=True):
            axis.reset(angle)
        self._last[:] = position
        self._show_limits()
        self._ready = True

    def set_speed(self, factor: float) -> None:
        """Let no joint go faster than `factor` (above 0, at most 1) of its velocity_max from now on.

        A joint that is faster slows down along its acceleration_max; all other limits hold as ever.
        """
        for axis in self._axes:
            axis.set_speed(factor)

    def apply(self, goal: Floats, out: Floats) -> None:
        """Write the command that comes closest to `goal` within all limits into `out`.

        Both: joint angles, rad, shape (joints,); they may be the same array. Whatever the goal holds, the command
        is finite. Raises EnvelopeError when `reset` was never called.
        """
        if not self._ready:
            raise EnvelopeError("the envelope does not know where the joints are; call reset first")
        self._last[:] = [axis.follow(angle) for axis, angle in zip(self._axes, goal.tolist(), strict=True)]
        out[:] = self._last
        self._show_limits()

    def stopping_point(self, out: Floats) -> None:
        """Write where each joint comes to rest, rad, shape (joints,), when it brakes from now on.

        Given to `apply` as the goal from the next tick on, it ramps every joint down without turning back.
        """
        out[:] = [axis.stopping_point() for axis in self._axes]

    @property
    def position(self) -> Floats:
        """The last command, rad, shape (joints,); the next tick overwrites it."""
        return self._last

    @property
    def velocity(self) -> Floats:
        """Speed of the last command, rad/s, shape (joints,)."""
        return np.array([axis.step for axis in self._axes]) / self._period_s

    @property
    def counts(self) -> dict[Limit, Ints]:
        """Ticks since the start in which each limit acted, by joint, shape (joints,)."""
        seen = np.array([axis.counts for axis in self._axes], np.int64).reshape(len(self._axes), -1)
        bits = np.arange(seen.shape[1])
        return {limit: seen[:, bits & limit != 0].sum(axis=1) for limit in Limit}

    def at_rest(self, eps: float = 1e-6) -> bool:
        """Whether no joint is commanded to move faster than `eps`, rad/s."""
        return all(abs(axis.step) <= eps * self._period_s for axis in self._axes)

    def _show_limits(self) -> None:
        limits = [axis.limits for axis in self._axes]
        if limits != self._limits:
            self._limits = limits
            self.limits[:] = limits
