"""The limits of the quality gates, as plain numbers: `[recording.quality]` in docs/configuration.md tells more."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Everything an episode is judged by. Times in s, shares 0 ... 1."""

    sharpness_min: float
    dark_max: float
    bright_max: float
    bad_frames_max: float
    frozen_max: float
    frame_gap_max: float
    frames_missing_max: float
    tick_gap_max: float
    reading_age_max: float
    clock_step_max: float
    out_of_range_max: float


@dataclass(frozen=True, slots=True)
class Success:
    """What the task's own sensor reads after an attempt that has succeeded."""

    sensor: str
    """`SENSOR.FIELD`."""
    element: int
    """Which of the field's values."""
    min: float | None
    max: float | None
