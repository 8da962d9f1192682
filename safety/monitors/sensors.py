"""What is measured by sensors: the age of their readings, and the tilt of the base."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from drivers.sensor import Sensor
from drivers.state import Floats

_UNIT_TOLERANCE = 0.02
"""A direction or a quaternion further from length 1 than this (squared) is none."""


class Field:
    """One field of a sensor, as long as it can be used."""

    def __init__(self, sensor: Sensor, name: str, max_age_s: float) -> None:
        """`name` of the field; `max_age_s`: oldest reading that is used, s."""
        self._sensor = sensor
        self._where = sensor.fields[name]
        self._max_age_ns = round(max_age_s * 1e9)

    def values(self, now_ns: int) -> Floats | None:
        """The newest values; None while there are none, they are too old, or their time lies in the future."""
        # Before the values: a reading that arrives in between is only taken for older than it is.
        stamp_ns = self._sensor.stamp_ns
        if not stamp_ns or abs(now_ns - stamp_ns) > self._max_age_ns:
            return None
        return self._sensor.values[self._where]


class Tilt:
    """Angle between the base's own z axis and upward, rad, shape (1,); NaN without a usable reading."""

    def __init__(self, field: Field) -> None:
        """`field`: a unit quaternion w, x, y, z that turns the base's frame into the world's, or the direction of
        gravity in the base's frame, unit length."""
        self._field = field
        self._tilt: Floats = np.full(1, np.nan)

    def __call__(self, now_ns: int) -> Floats:
        """The source of a monitor."""
        values = self._field.values(now_ns)
        self._tilt[0] = math.nan if values is None else _tilt(values.tolist())
        return self._tilt


def _tilt(values: Sequence[float]) -> float:
    if not abs(sum(value * value for value in values) - 1.0) < _UNIT_TOLERANCE:
        return math.nan
    if len(values) == 4:
        _, x, y, _ = values
        up = 1.0 - 2.0 * (x * x + y * y)  # the last element of the rotation matrix
    else:
        up = -values[2]
    return math.acos(max(-1.0, min(1.0, up)))


class SensorAge:
    """Age of the newest reading of each sensor, s, shape (sensors,); without end before the first.

    A reading from the future is as wrong as an old one.
    """

    def __init__(self, sensors: Sequence[Sensor]) -> None:
        self._sensors = tuple(sensors)

    def __call__(self, now_ns: int) -> Floats:
        """The source of a monitor."""
        return np.array(
            [abs(now_ns - each.stamp_ns) / 1e9 if each.stamp_ns else math.inf for each in self._sensors]
        )
