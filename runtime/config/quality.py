"""The section `[recording.quality]`."""

from __future__ import annotations

from pydantic import Field, model_validator

from drivers.joint import Options


class SuccessSensor(Options):
    """What the task's own sensor reads at the end of an attempt that has succeeded. Left out: the operator is
    believed."""

    sensor: str
    """The sensor's field, as `SENSOR.FIELD`."""
    element: int = Field(default=0, ge=0)
    """Which of the field's values."""
    min: float | None = None
    """Lowest value that means success. Left out: any."""
    max: float | None = None
    """Highest value that means success. Left out: any."""

    @model_validator(mode="after")
    def _has_a_range(self) -> SuccessSensor:
        if self.min is None and self.max is None:
            raise ValueError("found neither min nor max, expected at least one of them; add it")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}; give the lower number as min")
        return self


class Quality(Options):
    """What an episode must hold, or it counts as bad: kept apart, with the reasons, and never sent as good."""

    sharpness_min: float = Field(default=10.0, ge=0)
    """A frame whose Laplacian has a lower variance is blurred; 0 for no such limit. What is right depends on the
    camera and what it sees: look at `/cameras/NAME/quality` of a good recording."""
    dark_max: float = Field(default=0.7, ge=0, le=1)
    """A frame of which a larger share of the pixels is black is dark; 1 for no such limit."""
    bright_max: float = Field(default=0.5, ge=0, le=1)
    """A frame of which a larger share of the pixels is white is overexposed; 1 for no such limit."""
    bad_frames_max: float = Field(default=0.1, ge=0, le=1)
    """Share of a camera's frames that may be blurred, dark or overexposed."""
    frozen_max: float = Field(default=1.0, gt=0)
    """So long (s) a camera may show the very same picture, pixel for pixel."""
    frame_gap_max: float = Field(default=0.5, gt=0)
    """So long (s) a camera may give no frame."""
    frames_missing_max: float = Field(default=0.1, ge=0, le=1)
    """Share of the frames of a camera's rate that may be missing."""
    tick_gap_max: float = Field(default=0.1, gt=0)
    """Longest time (s) between two recorded ticks."""
    reading_age_max: float = Field(default=0.2, gt=0)
    """How old (s) the reading of a joint may be while motors are commanded."""
    clock_step_max: float = Field(default=0.5, gt=0)
    """By so much (s) the wall clock may be set."""
    out_of_range_max: float = Field(default=0.2, ge=0, le=1)
    """Share of the ticks in which the goal of a joint may lie outside of its range. A goal that is no number is
    always a reason."""
    success: SuccessSensor | None = None
    """What the task's own sensor says of a success."""
