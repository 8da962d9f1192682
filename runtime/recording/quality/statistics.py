"""What must be known of an episode to judge it: collected while it is recorded, numbers per joint and camera."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.recording.quality.frame import FrameQuality
from runtime.recording.quality.limits import Limits

POSITION, NOT_FINITE = 1, 8
"""Bits of a tick's `limits`, see `runtime.recording.trace`."""


class CameraStatistics:
    """What the frames of one camera were like."""

    def __init__(self, rate: float, started_ns: int) -> None:
        """`rate`: frames that should come, Hz. `started_ns`: the episode's start, CLOCK_MONOTONIC."""
        self.rate = rate
        self.frames = self.blurred = self.dark = self.bright = self.bad = 0
        self.gap_ns = self.frozen_ns = 0
        """Longest time without a frame, and with the same picture."""
        self.first_ns = 0
        self.last_ns = started_ns
        self._changed_ns = started_ns

    def add(self, quality: FrameQuality, limits: Limits) -> None:
        """Take one frame; one that came before the start, or is there already, does not count."""
        if quality.mono_ns <= self.last_ns:
            return
        blurred = quality.sharpness < limits.sharpness_min
        dark, bright = quality.dark > limits.dark_max, quality.bright > limits.bright_max
        self.blurred += blurred
        self.dark += dark
        self.bright += bright
        self.bad += blurred or dark or bright
        self.gap_ns = max(self.gap_ns, quality.mono_ns - self.last_ns)
        self.last_ns = quality.mono_ns
        if not self.frames:
            self.first_ns = quality.mono_ns
        if quality.change == 0.0 and self.frames:
            self.frozen_ns = max(self.frozen_ns, quality.mono_ns - self._changed_ns)
        else:
            self._changed_ns = quality.mono_ns
        self.frames += 1

    @property
    def expected(self) -> int:
        """Frames that there should be between the first and the last one, both included."""
        return round((self.last_ns - self.first_ns) * 1e-9 * self.rate) + 1


class Statistics:
    """One episode's numbers. All times CLOCK_MONOTONIC, ns."""

    def __init__(
        self,
        limits: Limits,
        joints: Sequence[str],
        cameras: Mapping[str, float],
        started_ns: int,
        success_at: int | None = None,
    ) -> None:
        """`cameras`: rate of the recorded frames of each, Hz. `success_at`: where in a tick's `tail` the value of
        the task's own sensor is."""
        self.limits = limits
        self.joints = list(joints)
        self.cameras = {name: CameraStatistics(rate, started_ns) for name, rate in cameras.items()}
        self.last_ns = started_ns
        """The last tick."""
        self.ticks = self.commanded = 0
        """All, and those in which motors were commanded."""
        self.gap_ns = 0
        """Longest time between two ticks."""
        self.step_ns = 0
        """Largest step of the wall clock, with its sign."""
        self.reading_age_s = np.zeros(len(self.joints))
        """Oldest reading of each joint with which motors were commanded, s."""
        self.out_of_range = np.zeros(len(self.joints), np.int64)
        self.not_finite = np.zeros(len(self.joints), np.int64)
        """Commanded ticks in which a joint's goal was out of its range, and NaN or infinite."""
        self.task_value = math.nan
        """What the task's own sensor read last."""
        self._success_at = success_at
        self._wall_minus_mono_ns: int | None = None

    def add_ticks(self, records: NDArray[np.void]) -> None:
        """Take records of ticks as `TraceLayout.records` gives them, in order, shape (n,)."""
        if not len(records):
            return
        times = records["mono_ns"]
        self.gap_ns = max(self.gap_ns, int(times[0]) - self.last_ns, *np.diff(times).tolist())
        self.last_ns = int(times[-1])
        self.ticks += len(records)
        if self._success_at is not None:
            self.task_value = float(records["tail"][-1, self._success_at])
        commanded: Any = records["joints"][records["gate"] == 1]
        if len(commanded):
            self.commanded += len(commanded)
            self.out_of_range += (commanded["limits"] & POSITION != 0).sum(axis=0)
            self.not_finite += (commanded["limits"] & NOT_FINITE != 0).sum(axis=0)
            np.maximum(self.reading_age_s, commanded["age_s"].max(axis=0), out=self.reading_age_s)

    def add_frame(self, camera: str, quality: FrameQuality) -> None:
        """Take one frame's statistics."""
        self.cameras[camera].add(quality, self.limits)

    def add_clock(self, mono_ns: int, wall_ns: int) -> None:
        """Take a reading of both clocks; often, so that a step is not taken for a drift."""
        before, self._wall_minus_mono_ns = self._wall_minus_mono_ns, wall_ns - mono_ns
        if before is not None and abs(step := self._wall_minus_mono_ns - before) > abs(self.step_ns):
            self.step_ns = step
