"""What is done to a joint's goal before its limits: smoothing, and keeping its motor's torque low.

Nothing here can lead a command out of its limits: those come after, whatever the goal has become.
"""

from __future__ import annotations

from math import exp, inf, isfinite, nan

from drivers.joint import Joint
from safety.axis import Limit

STALE = 2
"""So many requests in a row without an answer make a reading too old to look at."""

_POSITION, _TORQUE = int(Limit.POSITION), int(Limit.TORQUE)


class Smoothing:
    """A first-order low-pass: of the way to the goal, 1 - exp(-dt / time constant) in each tick."""

    __slots__ = ("_maximum", "_minimum", "_part", "_value", "limits", "rest")

    def __init__(self, joint: Joint, period_s: float) -> None:
        """`joint` has a `smoothing`. `period_s`: the time between two calls of `follow`, s."""
        assert joint.smoothing is not None
        self._minimum, self._maximum = joint.position_min, joint.position_max
        self._part = 1.0 - exp(-period_s / joint.smoothing)
        self.limits = 0
        """`Limit` bits of the last tick."""
        self.rest = nan
        """A goal that passes at once: the point where a stop ends. A smoothed stop would be a longer one."""
        self._value = nan

    def follow(self, goal: float, last: float) -> float:
        """The smoothed goal, rad. `last`: the last command, from which it starts after a pause."""
        if goal == self.rest or not isfinite(goal):
            self.limits = 0
            self._value = nan
            return goal
        # A goal far outside must not be remembered: the way back would take as long as the way there.
        inside = min(max(goal, self._minimum), self._maximum)
        self.limits = _POSITION if inside != goal else 0
        value = last if self._value != self._value else self._value
        value += (inside - value) * self._part
        # It would come closer for ever, and never rest.
        self._value = inside if abs(inside - value) < 1e-9 else value
        return self._value


class TorqueLimit:
    """Keeps the torque that a motor in MIT mode makes, kp (command - position) - kd velocity, within bounds.

    It pulls a goal towards the measured position and never past it: the torque is at most a part of `torque_max`,
    and its magnitude grows by at most `torque_rate_max`. It may fall as fast as it likes. The joint's other limits
    come after and win: a measurement that jumps is followed no faster than they allow.
    """

    __slots__ = ("_growth", "_kd", "_kp", "_position", "_torque_max", "_velocity", "limits")

    def __init__(self, joint: Joint, period_s: float, part: float = 1.0) -> None:
        """`joint` is one of MIT mode. `period_s`: the time between two calls of `follow`, s.

        `part` (above 0, at most 1): of its `torque_max`.
        """
        assert joint.torque_max is not None
        assert joint.kp is not None
        assert joint.kd is not None
        self._kp, self._kd = joint.kp, joint.kd
        self._torque_max = joint.torque_max * part
        self._growth = inf if joint.torque_rate_max is None else joint.torque_rate_max * period_s
        self._position = self._velocity = nan
        self.limits = 0
        """`Limit` bits of the last tick."""

    def follow(self, goal: float, last: float, position: float, velocity: float, missed: int) -> float:
        """The goal, or what of it the torque allows, rad.

        `last`: the last command, rad. `position`, `velocity`: as measured, rad, rad/s. `missed`: requests in a row
        without an answer. A reading that is old or not finite is not looked at: the goal passes.
        """
        self.limits = 0
        if missed >= STALE or not isfinite(position + velocity):
            self._position = nan
            return goal
        if self._position != self._position:
            self._position, self._velocity = position, velocity
        kp, damping = self._kp, self._kd * velocity
        before = kp * (last - self._position) - self._kd * self._velocity
        self._position, self._velocity = position, velocity
        if not isfinite(goal):
            return goal
        high = min(self._torque_max, max(before, 0.0) + self._growth)
        low = max(-self._torque_max, min(before, 0.0) - self._growth)
        upper = position + max(0.0, (damping + high) / kp)
        lower = position + min(0.0, (damping + low) / kp)
        if lower <= goal <= upper:
            return goal
        self.limits = _TORQUE
        return lower if goal < lower else upper
