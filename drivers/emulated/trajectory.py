"""What the plant did, kept at 25 Hz for drawing it afterwards."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE = 25.0
_KEEP = 30_000  # 20 minutes

Floats = NDArray[np.float64]


class Trajectory:
    """Configurations of the plant over time; the oldest go when it gets long."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_KEEP)
        self._qpos: deque[Floats] = deque(maxlen=_KEEP)

    def __len__(self) -> int:
        return len(self._times)

    def due(self, seconds: float) -> bool:
        """Whether the next snapshot should be taken at this simulated time."""
        return not self._times or seconds >= self._times[-1] + 1.0 / RATE - 1e-6

    def add(self, seconds: float, qpos: Floats) -> None:
        """Keep one configuration, shape (nq,)."""
        self._times.append(seconds)
        self._qpos.append(qpos)

    def clear(self) -> None:
        """Forget everything."""
        self._times.clear()
        self._qpos.clear()

    def save(self, path: Path) -> None:
        """Write an npz file: `times` in s from the first snapshot, shape (n,), and `qpos`, shape (n, nq)."""
        times = np.asarray(self._times, np.float64)
        qpos = np.stack(self._qpos) if self._qpos else np.zeros((0, 0))
        np.savez(path, times=times - times[:1], qpos=qpos)


def load(path: Path) -> tuple[Floats, Floats]:
    """Read (times, qpos) of a file that `Trajectory.save` wrote."""
    with np.load(path) as archive:
        return archive["times"], archive["qpos"]
