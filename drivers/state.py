"""The measured state of all joints: arrays that the buses fill in place and everybody else reads."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class JointState:
    """Measured state, one entry per joint in the robot's order; allocated once, filled in place by the buses.

    A joint that was never read has NaN in its measurements and stamp 0. A lost reply changes nothing but
    `missed`: the reading grows older, it is never made up.

    Each of shape (joints,): `position` rad, `velocity` rad/s, `torque` Nm (reported or estimated, NaN where the
    motor cannot), `temperature` °C (the hottest that the motor reports), `voltage` V (NaN where it is not
    reported); `stamp_ns` CLOCK_MONOTONIC time after which the reading was taken, so that its age is never
    understated; `missed` requests in a row without an answer; `fault` the motor's own error code, 0 = none,
    which `Bus.explain` puts in words.
    """

    MEASURED: ClassVar = ("position", "velocity", "torque", "temperature", "voltage")
    """Rows of `measured`."""
    COUNTED: ClassVar = ("stamp_ns", "missed", "fault")
    """Rows of `counted`."""

    __slots__ = ("counted", "measured", *MEASURED, *COUNTED)

    def __init__(self, count: int) -> None:
        self.measured: Floats = np.full((len(self.MEASURED), count), np.nan)
        """All measurements as one block, shape (5, joints); the arrays below are its rows."""
        self.counted: Ints = np.zeros((len(self.COUNTED), count), np.int64)
        """All whole numbers as one block, shape (3, joints); the arrays below are its rows."""
        self.position, self.velocity, self.torque, self.temperature, self.voltage = self.measured
        self.stamp_ns, self.missed, self.fault = self.counted
