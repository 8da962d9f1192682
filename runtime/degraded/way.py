"""Ways that the robot goes by itself, slowly: to its home, or back where it came from."""

from __future__ import annotations

from math import ceil

import numpy as np

from drivers.state import Floats

SPACING_NS = 20_000_000
"""Time between two rows of a trail, ns, and of a way unless that would make it too long to be laid in a tick."""
ROWS_MAX = 500
"""Rows of a way at most."""


def slow(points: Floats, speed: Floats) -> tuple[Floats, int]:
    """Angles (rad), shape (n, joints), that lead through all points in straight lines, and their spacing, ns.

    `points`: rad, shape (m, joints). `speed`: of each joint at most, rad/s, shape (joints,). On each line the
    joint that has the longest way uses its whole speed, and all arrive together; standing still is left out.
    """
    seconds = np.concatenate([[0.0], np.cumsum((np.abs(np.diff(points, axis=0)) / speed).max(axis=1))])
    steps = int(np.clip(np.ceil(seconds[-1] / (SPACING_NS / 1e9)), 1, ROWS_MAX - 1))
    times = np.linspace(0.0, seconds[-1], steps + 1)
    rows = np.stack([np.interp(times, seconds, joint) for joint in points.T], axis=1)
    return rows, max(ceil(seconds[-1] / steps * 1e9), 1)


class Trail:
    """The newest commands, as far back as a retreat goes. `note` runs inside the tick."""

    def __init__(self, joints: int, length_s: float, period_s: float) -> None:
        """`length_s`: how much is kept; `period_s`: time between two calls of `note`."""
        self._every = max(1, round(SPACING_NS / 1e9 / period_s))
        self._rows: Floats = np.zeros((max(2, round(length_s / (self._every * period_s))), joints))
        self._calls = 0

    def forget(self) -> None:
        """Begin anew: nobody goes further back than to here."""
        self._calls = 0

    def note(self, command: Floats) -> None:
        """Keep a command, rad, shape (joints,)."""
        if self._calls % self._every == 0:
            self._rows[self._calls // self._every % len(self._rows)] = command
        self._calls += 1

    def backwards(self) -> Floats:
        """What is kept, the newest first, rad, shape (n, joints)."""
        newest = (self._calls - 1) // self._every
        kept = min(newest + 1, len(self._rows))
        return self._rows[[(newest - age) % len(self._rows) for age in range(kept)]]
