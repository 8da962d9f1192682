"""One action chunk as a curve over time: what a timeline is made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from drivers.state import Floats
from runtime.control.fade import Fade
from runtime.policy.worker.curve import cubics

Mask = NDArray[np.bool_]

# Filled in place: to make such a small array takes longer than to multiply with it. The loop's thread alone does.
_POWERS: Floats = np.ones(4)
_WEIGHTS: Floats = np.array(((1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)))


def duration_ns(horizon: int, period_ns: int) -> int:
    """How long a chunk of so many actions lasts, ns; see `Track` for a horizon of 1."""
    return max(horizon, 2) * period_ns


class Track:
    """A chunk of goals, sampled at any time: action i is reached at `t0 + i * period`.

    Between two actions lies a cubic: position and velocity are continuous, and no joint goes beyond the two
    actions. A joint that is held keeps each action until the next. Before `t0` it is the first action, and the
    last one is held for one period. A horizon of 1 is held for two: the policy's next observation is one period
    after this one, so its next action cannot be there sooner.
    """

    __slots__ = (
        "_cubics",
        "_last",
        "_steps",
        "actions",
        "by",
        "end_ns",
        "fade",
        "goals",
        "held",
        "period_ns",
        "t0_ns",
        "weights",
    )

    def __init__(
        self,
        t0_ns: int,
        period_ns: int,
        goals: Floats,
        held: Mask | None = None,
        by: str = "",
        weights: Floats | None = None,
        *,
        straight: bool = False,
        curve: Floats | None = None,
    ) -> None:
        """`goals`: joint angles, rad, shape (H, joints). `held`: which joints are not interpolated; None: all are.

        `by`: who made it. `weights`: how many chunks are in each action, when it is an average; shape (H,).
        `straight`: lines instead of curves, for a way whose speed must be nowhere above that from row to row.
        `curve`: `cubics` of the goals, where somebody has computed them already.
        """
        self.by = by
        self.t0_ns = t0_ns
        self.period_ns = period_ns
        self.end_ns = t0_ns + duration_ns(len(goals), period_ns)
        """From this moment on it has nothing to say."""
        self.goals = goals
        self.held = held
        self.weights = weights
        self.fade: Fade | None = None
        """What is added on top."""
        self.actions: Floats | None = None
        """The raw actions that became the goals, where they are those of one chunk, in its maker's own numbers."""
        self._last = len(goals) - 1
        self._steps = held is not None and bool(held.all())
        self._cubics = cubics(goals, held, straight) if curve is None else curve

    def sample(self, now_ns: int, out: Floats) -> bool:
        """Write the goals for `now_ns` into `out` (rad, shape (joints,)). False: it has ended, `out` untouched."""
        if now_ns >= self.end_ns:
            return False
        row, u = self._place(now_ns)
        if self._steps:
            out[:] = self.goals[row]
        else:
            powers = _POWERS
            powers[1] = u
            powers[2] = u * u
            powers[3] = u * u * u
            np.dot(powers, self._cubics[row], out=out)
        if self.fade is not None and now_ns < self.fade.end_ns:
            out += self.fade.position(now_ns)
        return True

    def row(self, now_ns: int) -> int:
        """Index of the action that is executed at `now_ns`."""
        return self._place(now_ns)[0]

    def position(self, now_ns: int) -> Floats:
        """Goals at `now_ns`, after the end those at the end; rad, shape (joints,)."""
        out = np.empty(self.goals.shape[1])
        self.sample(min(now_ns, self.end_ns - 1), out)
        return out

    def motion(self, now_ns: int) -> Floats:
        """Goals (rad) and their speed (rad/s) at `now_ns`, after the end those at the end; shape (2, joints)."""
        row, u = self._place(min(now_ns, self.end_ns - 1))
        if self._steps:
            motion: Floats = np.zeros((2, self.goals.shape[1]))
            motion[0] = self.goals[row]
        else:
            rate = 1e9 / self.period_ns if now_ns >= self.t0_ns else 0.0
            square = u * u
            weights = _WEIGHTS
            weights[0, 1], weights[0, 2], weights[0, 3] = u, square, square * u
            weights[1, 1], weights[1, 2], weights[1, 3] = rate, 2.0 * u * rate, 3.0 * square * rate
            motion = weights.dot(self._cubics[row])
        if self.fade is not None and now_ns < self.fade.end_ns:
            motion += self.fade.motion(now_ns)
        return motion

    def rows(self, t0_ns: int, period_ns: int, count: int) -> Floats:
        """Goals at `t0 + i * period` for i < count, rad, shape (count, joints); after its end the last ones."""
        times = t0_ns + period_ns * np.arange(count)
        since = np.maximum(times - self.t0_ns, 0)
        rows = np.minimum(since // self.period_ns, self._last)
        if self._steps:
            goals: Floats = self.goals[rows]
        else:
            u = (since % self.period_ns / self.period_ns)[:, None]
            cubics = self._cubics[rows]
            goals = cubics[:, 3] * u
            for power in (2, 1):
                goals += cubics[:, power]
                goals *= u
            goals += cubics[:, 0]
        if self.fade is not None and t0_ns < self.fade.end_ns:
            goals += self.fade.positions(times)
        return goals

    def _place(self, now_ns: int) -> tuple[int, float]:
        """The action before `now_ns`, and the part of a period that has passed since."""
        row, rest_ns = divmod(max(now_ns - self.t0_ns, 0), self.period_ns)
        return min(row, self._last), rest_ns / self.period_ns
