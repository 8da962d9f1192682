"""One joint's limits with its jerk: the plain law's commands, averaged over a short window.

A mean of N commands in a row stays in every range that the commands stay in, and its velocity and acceleration are
means of theirs: position, velocity and acceleration keep their limits whatever the goals are. Its acceleration
changes in a tick by (a[k] - a[k-N]) / N, so with N dt >= 2 a_max / jerk_max the jerk keeps its limit, too. Nothing
has to be weighed against anything: also a joint that starts outside its range only moves towards it.

The price is time: commands trail the plain law's by (N - 1) / 2 ticks, and a stop ends N - 1 ticks later. A moving
average as jerk limit: L. Biagiotti, C. Melchiorri, FIR filters for online trajectory planning with time- and
frequency-domain specifications, Control Engineering Practice 20 (2012).
"""

from __future__ import annotations

from collections import deque
from math import ceil

from drivers.joint import Joint
from safety.axis import TOLERANCE, Axis, AxisState, Limit

_JERK = int(Limit.JERK)

_State = tuple[float, float, int, float, int, float, AxisState]


class JerkAxis:
    """Follows one joint's goals within its limits, jerk included. Has the methods of `Axis`."""

    __slots__ = ("_law", "_since_turn", "_ticks", "_way", "_window", "last", "limits", "step")

    def __init__(self, joint: Joint, period_s: float) -> None:
        """`joint` has a `jerk_max`. `period_s`: the time between two calls of `follow`, s. Call `reset` first."""
        self._law = Axis(joint, period_s)
        # The tolerance: a quotient that is whole but for rounding needs no tick more.
        self._ticks = max(1, ceil(joint.jerk_window / period_s * (1 - 1e-12)))
        self._window: deque[float] = deque(maxlen=self._ticks)
        self.reset(self._law.last)

    def reset(self, position: float) -> None:
        """Start over from standstill at `position`, rad."""
        self._law.reset(position)
        self._window.extend([position] * self._ticks)
        self._way = 0.0
        self._since_turn = self._ticks
        self.last = position
        """The last command, rad."""
        self.step = 0.0
        """The last command's step, rad."""
        self.limits = 0
        """`Limit` bits of the last tick."""

    def set_speed(self, factor: float) -> None:
        """Move at `factor` (above 0, at most 1) of the top speed from now on; a faster joint brakes to it."""
        self._law.set_speed(factor)

    def follow(self, goal: float) -> float:
        """The command that comes closest to `goal`, rad, within all limits. Finite, whatever the goal is."""
        law, window = self._law, self._window
        window.append(law.follow(goal))
        # Rounding must not lead out of the window; with all of it at one place, the command is that place.
        command = min(max(sum(window) / self._ticks, min(window)), max(window))
        if law.step * self._way < 0:
            self._since_turn = 0
        else:
            self._since_turn += 1
        if law.step:
            self._way = law.step
        self.limits = law.limits | (_JERK if abs(command - law.last) > TOLERANCE else 0)
        self.step = command - self.last
        self.last = command
        return command

    def stopping_point(self) -> float:
        """Where the joint comes to rest, rad, when it brakes from now on."""
        return self._law.stopping_point()

    def expect_rest(self, goal: float) -> None:
        """Take `goal`, if it comes next, for a place to stand at, although it may have moved until now."""
        self._law.expect_rest(goal)

    def at_rest(self, step: float) -> bool:
        """Whether the joint is commanded to move no more than `step` a tick, rad, now and later on."""
        return self._law.at_rest(step) and max(self._window) - min(self._window) <= self._ticks * step

    def ticks_to_stop(self) -> int:
        """Ticks of braking after which the joint stands."""
        return self._law.ticks_to_stop() + self._ticks - 1

    def after(self, ticks: int) -> float:
        """Where the joint is after `ticks` of braking from now on, rad."""
        law, first = self._law, ticks - self._ticks + 1
        if first >= (still := law.ticks_to_stop()):
            return law.after(still)
        kept = list(self._window)[ticks:]
        return (sum(kept) + sum([law.after(tick) for tick in range(max(1, first), ticks + 1)])) / self._ticks

    def wander(self) -> float:
        """How far the way to the stop may leave a way that never turns back, rad: all of it after a turn."""
        if self._since_turn >= self._ticks:
            return 0.0
        rest = self._law.after(self._law.ticks_to_stop())
        return max(rest, *self._window) - min(rest, *self._window)

    def save(self) -> _State:
        """What `restore` takes to undo the one goal that was followed since."""
        return self.last, self.step, self.limits, self._way, self._since_turn, self._window[0], self._law.save()

    def restore(self, saved: _State) -> None:
        """Be as when `save` was called, one `follow` ago."""
        self.last, self.step, self.limits, self._way, self._since_turn, oldest, law = saved
        self._window.pop()
        self._window.appendleft(oldest)
        self._law.restore(law)
