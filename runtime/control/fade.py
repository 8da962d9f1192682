"""An offset that is faded out: what makes one plan go over into another without a step."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from drivers.state import Floats, Ints

Part = TypeVar("Part", float, Floats)

# Filled in place, by the loop's thread alone; see `track`.
_WEIGHTS: Floats = np.zeros((2, 2))


class Fade:
    """Is `offset` and moves at `speed` when it begins; is gone, and at rest, when it ends.

    Between lies the polynomial of degree 5 that besides has no acceleration at both ends (for `speed` 0 the
    minimum-jerk curve of Flash and Hogan, J. Neurosci. 5, 1985), so a plan keeps its own.
    """

    __slots__ = ("_duration_s", "_from", "begin_ns", "end_ns")

    def __init__(self, begin_ns: int, duration_ns: int, offset: Floats) -> None:
        """`offset`: rad, and its speed, rad/s; shape (2, joints)."""
        self.begin_ns = begin_ns
        self.end_ns = begin_ns + duration_ns
        self._duration_s = duration_ns / 1e9
        self._from = offset

    def position(self, now_ns: int) -> Floats:
        """What is left of the offset, rad, shape (joints,)."""
        weights = _WEIGHTS[0]
        weights[0], weights[1] = self._position_of(self._part(now_ns))
        left: Floats = weights.dot(self._from)
        return left

    def positions(self, times_ns: Ints) -> Floats:
        """The same at several times, rad, shape (times, joints)."""
        u = np.clip((times_ns - self.begin_ns) / (self.end_ns - self.begin_ns), 0.0, 1.0)
        left: Floats = np.stack(self._position_of(u), axis=1) @ self._from
        return left

    def motion(self, now_ns: int) -> Floats:
        """What is left of the offset (rad), and its speed (rad/s), shape (2, joints)."""
        u = self._part(now_ns)
        square = u * u
        away = 30.0 * square * (1.0 + u * (-2.0 + u)) / self._duration_s
        drift = 1.0 - square * (18.0 + u * (-32.0 + 15.0 * u))
        weights = _WEIGHTS
        weights[0, 0], weights[0, 1] = self._position_of(u)
        weights[1, 0], weights[1, 1] = -away, drift
        left: Floats = weights.dot(self._from)
        return left

    def _position_of(self, u: Part) -> tuple[Part, Part]:
        """Weights of the offset and of its speed in the position."""
        cube = u * u * u
        away = cube * (10.0 + u * (-15.0 + 6.0 * u))
        drift = u - cube * (6.0 + u * (-8.0 + 3.0 * u))
        return 1.0 - away, drift * self._duration_s

    def _part(self, now_ns: int) -> float:
        """How much of its time has passed, 0 to 1."""
        return min(max(now_ns - self.begin_ns, 0) / (self.end_ns - self.begin_ns), 1.0)
