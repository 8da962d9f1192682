"""What is worth keeping although nobody has said so: the policy is unsure, or the envelope has to hold it back."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from runtime.control.modes import Mode


class Triggers:
    """Looks at windows of ticks and chunks. Times are those of the ticks and chunks, CLOCK_MONOTONIC, ns."""

    def __init__(self, window_s: float, limits: float | None, uncertainty: float | None) -> None:
        """`limits`: share of a window's ticks, 0..1; `uncertainty`: mean of a window's chunks, in the policy's own
        unit. From these on something is worth keeping; None: never."""
        self._window_s = window_s
        self._window_ns = round(window_s * 1e9)
        self._limits = limits
        self._uncertainty = uncertainty
        self._times: NDArray[np.int64] = np.zeros(0, np.int64)
        self._acted: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._chunks: deque[tuple[int, float]] = deque()

    def ticks(self, records: NDArray[np.void]) -> str:
        """Look at records of ticks. Returns why this is worth keeping; empty: it is not.

        Only ticks in AUTO count, and only a window that is full of them.
        """
        records = records[records["mode"] == Mode.AUTO]
        if self._limits is None or not len(records):
            return ""
        times = np.concatenate([self._times, records["mono_ns"]])
        acted = np.concatenate([self._acted, (records["joints"]["limits"] != 0).any(axis=1)])
        before = times <= times[-1] - self._window_ns
        self._times, self._acted = times[~before], acted[~before]
        share = float(self._acted.mean())
        if not before.any() or share < self._limits:
            return ""
        return f"limits acted in {share:.0%} of the ticks of {self._window_s:g} s"

    def chunk(self, mono_ns: int, uncertainty: float) -> str:
        """Look at a chunk that has arrived, likewise."""
        if self._uncertainty is None:
            return ""
        self._chunks.append((mono_ns, uncertainty))
        while self._chunks[0][0] <= mono_ns - self._window_ns:
            self._chunks.popleft()
        mean = sum(value for _, value in self._chunks) / len(self._chunks)
        if mean < self._uncertainty:
            return ""
        return f"the policy's uncertainty was {mean:.3g} on average of {self._window_s:g} s"
