"""The models of `[safety.monitor]`: limits on what is measured."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from drivers.joint import Name, Options

Reaction = Literal["slow", "hold", "controlled_stop", "torque_off"]
Positive = Annotated[float, Field(gt=0)]


class Graded(Options):
    """What every monitor has."""

    duration: float = Field(default=0.1, ge=0, le=60)
    """How long a limit must be exceeded to count, s, and the value be 5 % within it to be well again."""
    action: Reaction = "controlled_stop"
    """What the robot does when `stop` is exceeded. Every stop lasts until a person resets it, slow motion until
    the value is well again."""


class JointLimits(Options):
    """Limits of one joint, in place of the monitor's."""

    warn: Positive | None = None
    """Beyond this a warning is given. Left out: the monitor's."""
    stop: Positive | None = None
    """Beyond this the robot reacts. Left out: the monitor's."""


class JointMonitor(Graded):
    """A limit on something that is measured of every joint."""

    warn: Positive | None = None
    """Beyond this a warning is given. Left out: none."""
    stop: Positive | None = None
    """Beyond this the robot reacts as `action` says. Left out: what `[safety.monitor]` says, if it does."""
    only: tuple[Name, ...] | None = Field(default=None, min_length=1)
    """Joints that are watched. Left out: all."""
    joints: dict[Name, JointLimits] = Field(default_factory=dict)
    """Limits of single joints: `{ wrist = { stop = 3.0 } }`."""


class CollisionMonitor(JointMonitor):
    """A sudden change of torque, Nm: the distance from its mean."""

    settle: float = Field(default=0.5, gt=0, le=60)
    """Time constant of the mean, s: what changes more slowly is not seen."""


class OscillationMonitor(JointMonitor):
    """A joint that swings to and fro, Hz."""

    amplitude: float = Field(gt=0)
    """Swings count when the speed reaches this both ways, rad/s."""
    window: float = Field(default=1.0, gt=0, le=60)
    """Time in which the swings are counted, s."""


class GripStallMonitor(JointMonitor):
    """A gripper that is commanded on, does not move and presses with this torque, Nm."""

    error: float = Field(default=0.05, gt=0)
    """It is commanded on while the command is further away than this, rad."""
    speed: float = Field(default=0.05, gt=0)
    """It does not move while it is slower than this, rad/s."""


class TiltMonitor(Graded):
    """The angle between the base's own z axis and upward, rad."""

    orientation: str
    """Field of a sensor as `NAME.FIELD`: a unit quaternion w, x, y, z that turns the base's frame into the
    world's, or the direction of gravity in the base's frame (3 values). A reading older than the sensor's
    `max_age`, or one that is no direction, counts like a tilt beyond `stop`, at most for a controlled stop."""
    warn: float | None = Field(default=None, gt=0, le=math.pi)
    """Beyond this a warning is given. Left out: none."""
    stop: float | None = Field(default=None, gt=0, le=math.pi)
    """Beyond this the robot reacts as `action` says."""


class SensorAgeMonitor(Graded):
    """The age of sensors' newest readings, s."""

    warn: dict[Name, Positive] = Field(default_factory=dict)
    """Beyond this a warning is given, by sensor: `{ imu = 0.05 }`."""
    stop: dict[Name, Positive] = Field(default_factory=dict)
    """Beyond this the robot reacts as `action` says, by sensor."""


class Monitors(Options):
    """Limits on what is measured, checked on the safety thread. What is left out is not watched, unless a
    default is given here; a default can be raised, and not be switched off."""

    velocity: JointMonitor | None = None
    """Measured speed, rad/s. `stop` left out: twice the joint's `velocity_max`. Commands never exceed that, so a
    joint at twice of it does not do what it is told."""
    torque: JointMonitor | None = None
    """Reported torque, Nm. `stop` left out: one and a half times the joint's `torque_max`; a joint that has none
    is not watched."""
    following_error: JointMonitor | None = None
    """Distance between command and measured angle, rad."""
    torque_error: JointMonitor | None = None
    """Distance between reported torque and `kp * (command - position) - kd * velocity`, Nm: a motor in MIT mode
    that does not make the torque it is asked for. Left out in `only`: all joints that have a `kp`."""
    collision: CollisionMonitor | None = None
    """A sudden change of torque."""
    oscillation: OscillationMonitor | None = None
    """A joint that swings to and fro."""
    grip_stall: GripStallMonitor | None = None
    """A gripper that presses on without moving; `only` names it."""
    temperature: JointMonitor | None = None
    """Hottest reported temperature, °C. It is watched while the motors are off as well."""
    voltage: JointMonitor | None = None
    """Supply voltage, V: the least that is allowed, so `warn` is above `stop`. It is watched while the motors
    are off as well."""
    joint_age: JointMonitor | None = None
    """Age of a joint's newest reading, s. `stop` left out: twice the time of `control.missed_limit` periods, and
    `safety.stall` on top; the loop itself stops at half of that."""
    tilt: TiltMonitor | None = None
    """Tilt of the base."""
    sensor_age: SensorAgeMonitor | None = None
    """Age of sensors' readings."""
    clock_step: float = Field(default=0.5, ge=0.01)
    """A step of the wall clock by this, s, is told as a warning."""
