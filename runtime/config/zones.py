"""The models of `[safety.geofence]` and `[safety.protective_field]`: where, and near whom, the robot may be."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from drivers.joint import Options
from runtime.config.monitors import Reaction

Coordinate = Annotated[float, Field(ge=-1e6, le=1e6)]


class Zone(Options):
    """What every zone has."""

    action: Reaction = "controlled_stop"
    """What the robot does within `stop`. It does so as well while the sensor's reading is missing, malformed or
    older than its `max_age`; in place of `torque_off` it makes a controlled stop then."""
    clear: Literal["gone", "reset"] = "reset"
    """What ends that, once the cause has been gone for `clear_after`: `gone`, nothing more; `reset`, a person."""
    clear_after: float = Field(default=1.0, ge=0, le=600)
    """How long the distance must be 5 % above the limit again, s."""


class Geofence(Zone):
    """A polygon in the plane that the base must stay inside or outside of."""

    pose: str
    """Field of a sensor as `NAME.FIELD`: x, y of the base, m; more values, such as yaw, are not looked at."""
    border: tuple[tuple[Coordinate, Coordinate], ...] = Field(min_length=3, max_length=64)
    """Vertices x, y in order, m, in the frame of the pose; the last joins the first, and no two sides cross."""
    stay: Literal["inside", "outside"] = "inside"
    """Which side of the border is allowed."""
    slow: float | None = Field(default=None, gt=0)
    """Nearer to the border than this, m, the robot moves slowly. Left out: it never does."""
    stop: float = Field(default=0.0, ge=0)
    """Nearer to the border than this, m, or beyond it, the robot stops."""


class ProtectiveField(Zone):
    """A sector around a range sensor in which nobody may be while the robot moves."""

    ranges: str
    """Field of a sensor as `NAME.FIELD`: the ranges of a scan, m, or a single distance. A ray that met nothing has
    the sensor's range; zero is something that touches the sensor, and a negative range is malformed."""
    angle_min: float = Field(default=0.0, ge=-2 * math.pi, le=2 * math.pi)
    """Direction of the scan's first ray, rad."""
    angle_increment: float = Field(default=1.0, ge=-math.pi, le=math.pi)
    """Angle from one ray to the next, rad, not 0."""
    sector: tuple[float, float] | None = None
    """Lowest and highest direction that is looked at, rad. Left out: all rays."""
    slow: float | None = Field(default=None, gt=0)
    """Anything nearer than this, m, and the robot moves slowly. Left out: it never does."""
    stop: float = Field(gt=0)
    """Anything nearer than this, m, and the robot stops."""
