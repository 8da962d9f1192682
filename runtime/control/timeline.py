"""The timeline: the plan ahead, an action chunk laid over absolute time. Sampling it never waits."""

from __future__ import annotations

from typing import Literal

import numpy as np

from drivers.state import Floats

Between = Literal["interpolate", "hold"]


class Timeline:
    """Holds the newest chunk of goals and samples it at any time.

    Action i is meant for `t0 + i * period`. Between actions the goal is interpolated, or held until the next.
    The last action is held for one period. A horizon of 1 is held for two: the policy's next observation is one
    period after this one, so its next action cannot be there sooner.
    """

    def __init__(self, joints: int, period_ns: int, between: Between) -> None:
        self.period_ns = period_ns
        self._interpolate = between == "interpolate"
        self._goals: Floats = np.empty((0, joints))
        self._t0_ns = 0
        self._end_ns = 0
        self._before: Floats = np.empty(joints)
        self._after: Floats = np.empty(joints)

    def clear(self) -> None:
        """Forget the plan."""
        self._goals = self._goals[:0]
        self._t0_ns = self._end_ns = 0

    @property
    def empty(self) -> bool:
        """No chunk was laid since `clear`."""
        return not len(self._goals)

    def lay(self, t0_ns: int, goals: Floats, now_ns: int) -> float | None:
        """Lay a chunk over the plan; from now on it alone is sampled, from the action that is due.

        `goals`: joint angles, rad, shape (H, joints); action 0 is meant for `t0_ns`. Returns the largest step
        (rad) between the old plan and the new one at `now_ns` (0.0 when there was no plan), or None when the
        chunk is of no use: older than the one in place, or wholly past.
        """
        end_ns = t0_ns + max(len(goals), 2) * self.period_ns
        if end_ns <= now_ns or t0_ns < self._t0_ns:
            return None
        had_plan = self.sample(now_ns, self._before)
        self._goals, self._t0_ns, self._end_ns = goals, t0_ns, end_ns
        if not had_plan:
            return 0.0
        self.sample(now_ns, self._after)
        return float(np.abs(self._after - self._before).max())

    def sample(self, now_ns: int, out: Floats) -> bool:
        """Write the goals for `now_ns` into `out` (rad, shape (joints,)). False: starved, `out` untouched."""
        if now_ns >= self._end_ns:
            return False
        row, rest_ns = divmod(max(now_ns - self._t0_ns, 0), self.period_ns)
        last = len(self._goals) - 1
        if row >= last:
            out[:] = self._goals[last]
        elif self._interpolate:
            np.subtract(self._goals[row + 1], self._goals[row], out)
            out *= rest_ns / self.period_ns
            out += self._goals[row]
        else:
            out[:] = self._goals[row]
        return True

    def row(self, now_ns: int) -> int:
        """Index of the action that is executed at `now_ns`."""
        return min(max(now_ns - self._t0_ns, 0) // self.period_ns, len(self._goals) - 1)

    def ahead_s(self, now_ns: int) -> float:
        """How long the plan lasts from `now_ns`, s; 0 when starved."""
        return max(self._end_ns - now_ns, 0) / 1e9
