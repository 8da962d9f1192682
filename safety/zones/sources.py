"""What zones are judged by: how far the base is from a border, and how near anything is to a range sensor.

A reading that is missing, too old or malformed is NaN, and that is a stop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from drivers.state import Floats
from safety.monitors.sensors import Field
from safety.zones.polygon import Polygon


class BorderDistance:
    """How far the base is within what a geofence allows, m, shape (1,); negative beyond the border."""

    def __init__(self, pose: Field, vertices: Sequence[tuple[float, float]], stay_inside: bool) -> None:
        """`pose`: x, y of the base, m, in the frame of the vertices; more values are not looked at."""
        self._pose = pose
        self._polygon = Polygon(vertices)
        self._sign = 1.0 if stay_inside else -1.0
        self._distance: Floats = np.full(1, np.nan)

    def __call__(self, now_ns: int) -> Floats:
        """The source of a monitor."""
        pose = self._pose.values(now_ns)
        self._distance[0] = (
            math.nan if pose is None else self._sign * self._polygon.depth(float(pose[0]), float(pose[1]))
        )
        return self._distance


class NearestRange:
    """The shortest range of a sector of a scan, m, shape (1,)."""

    def __init__(self, scan: Field, rays: slice) -> None:
        """`rays`: those that are looked at. A ray that met nothing has the sensor's range, or infinity; NaN and
        negative numbers are malformed, and zero is something that touches the sensor."""
        self._scan = scan
        self._rays = rays
        self._nearest: Floats = np.full(1, np.nan)

    def __call__(self, now_ns: int) -> Floats:
        """The source of a monitor."""
        scan = self._scan.values(now_ns)
        nearest = math.nan if scan is None else float(scan[self._rays].min())  # NaN if any of them is
        self._nearest[0] = nearest if nearest >= 0 else math.nan
        return self._nearest


def sector(count: int, angle_min: float, angle_increment: float, low: float, high: float) -> slice:
    """The rays of a scan that cover the angles from `low` to `high`, rad, which lie within the scan.

    Ray n of `count` points to `angle_min + n * angle_increment`. Between two rays, both belong to it.
    """
    ends = sorted(((low - angle_min) / angle_increment, (high - angle_min) / angle_increment))
    return slice(max(0, math.floor(ends[0] + 1e-6)), min(count - 1, math.ceil(ends[1] - 1e-6)) + 1)
