"""The measured state of all joints: arrays that the buses fill in place and everybody else reads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class JointState:
    """Measured state, one entry per joint in the robot's order; allocated once, filled in place by the buses.

    A joint that was never read has NaN in its measurements and stamp 0. A lost reply changes nothing but
    `missed`: the reading grows older, it is never made up.
    """

    __slots__ = ("fault", "missed", "position", "stamp_ns", "temperature", "torque", "velocity", "voltage")

    def __init__(self, count: int) -> None:
        self.position: Floats = np.full(count, np.nan)
        """Joint angle, rad, shape (joints,)."""
        self.velocity: Floats = np.full(count, np.nan)
        """Joint speed, rad/s, shape (joints,)."""
        self.torque: Floats = np.full(count, np.nan)
        """Joint torque as the motor reports or estimates it, Nm, shape (joints,); NaN where it cannot."""
        self.temperature: Floats = np.full(count, np.nan)
        """Hottest temperature that the motor reports, °C, shape (joints,)."""
        self.voltage: Floats = np.full(count, np.nan)
        """Supply voltage at the motor, V, shape (joints,); NaN where the motor does not report it."""
        self.stamp_ns: Ints = np.zeros(count, np.int64)
        """CLOCK_MONOTONIC time, ns, after which the reading was taken: its age is never understated."""
        self.missed: Ints = np.zeros(count, np.int64)
        """Requests in a row that this joint has not answered, shape (joints,)."""
        self.fault: Ints = np.zeros(count, np.int64)
        """The motor's own error code, 0 = none; `Bus.explain` puts it in words."""
