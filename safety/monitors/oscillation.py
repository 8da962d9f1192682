"""How fast a joint swings to and fro: turns of its speed, counted with hysteresis in a window of time."""

from __future__ import annotations

from collections import deque

import numpy as np

from drivers.state import Floats, JointState

TURNS_MAX = 1000
"""Turns kept of one joint."""


class Oscillation:
    """Frequency, Hz, of the swings of each joint that reach `amplitude` both ways, shape (joints,).

    A turn is a speed beyond the amplitude after one beyond it the other way, so that noise around zero counts
    nothing. The frequency is half the turns in the window over its length. What swings faster than half the rate
    of the looks seems slower than it is.
    """

    def __init__(self, state: JointState, amplitude: float, window_ns: int) -> None:
        """`amplitude`: rad/s."""
        self._state = state
        self._amplitude = amplitude
        self._window_ns = window_ns
        self._side: Floats = np.zeros(len(state.velocity))
        self._turns: list[deque[int]] = [deque(maxlen=TURNS_MAX) for _ in self._side]
        self._hertz: Floats = np.zeros(len(self._side))

    def __call__(self, now_ns: int) -> Floats:
        """The source of a monitor."""
        velocity = self._state.velocity
        side = np.where(velocity > self._amplitude, 1.0, np.where(velocity < -self._amplitude, -1.0, 0.0))
        turned = (side * self._side < 0).tolist()
        np.copyto(self._side, side, where=side != 0)
        for place, turns in enumerate(self._turns):
            if turned[place]:
                turns.append(now_ns)
            while turns and turns[0] <= now_ns - self._window_ns:
                turns.popleft()
            self._hertz[place] = len(turns) * 0.5e9 / self._window_ns
        return np.where(np.isfinite(velocity), self._hertz, np.nan)
