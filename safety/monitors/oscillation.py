"""How fast a joint swings to and fro: turns of its speed, counted with hysteresis in a window of time."""

from __future__ import annotations

from collections import deque

import numpy as np

from drivers.state import Floats, JointState


class Oscillation:
    """Frequency, Hz, of the swings of each joint that reach `amplitude` both ways, shape (joints,).

    A turn is a speed beyond the amplitude after one beyond it the other way, so that noise around zero counts
    nothing. The frequency is half the turns in the window over its length. What swings faster than half the rate
    of the looks seems slower than it is.
    """

    def __init__(self, state: JointState, amplitude: float, window_ns: int) -> None:
        """`amplitude`: rad/s."""
        self._velocity = state.velocity
        self._amplitude = amplitude
        self._window_ns = window_ns
        self._side: Floats = np.zeros(len(state.velocity))  # where its speed was last beyond the amplitude
        self._turns: deque[tuple[int, int]] = deque()  # when, and of which joint
        self._counts: Floats = np.zeros(len(state.velocity))
        self._hertz_of_a_turn = 0.5e9 / window_ns

    def __call__(self, now_ns: int) -> Floats:
        """The source of a monitor."""
        velocity = self._velocity
        beyond = np.abs(velocity) > self._amplitude
        if beyond.any():
            for place in np.flatnonzero(beyond & (velocity * self._side <= 0)).tolist():
                if self._side[place]:
                    self._turns.append((now_ns, place))
                    self._counts[place] += 1
                self._side[place] = velocity[place]
        while self._turns and self._turns[0][0] <= now_ns - self._window_ns:
            self._counts[self._turns.popleft()[1]] -= 1
        return np.where(np.isfinite(velocity), self._counts * self._hertz_of_a_turn, np.nan)
