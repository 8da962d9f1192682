"""A joint: the unit in which everything above the wire thinks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]

LONGEST_JERK_WINDOW = 1.0
"""Longest `Joint.jerk_window`, s: by so much a joint stops later than without."""


class Options(BaseModel):
    """Base of everything that is read from a config: unknown keys are mistakes, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Joint(Options):
    """One joint of the robot and the motor that moves it.

    Joint and motor coordinates: `joint = sign * motor / reduction + offset` (rad).
    """

    name: Name
    """Name of the joint, unique in the robot."""
    bus: str
    """Name of the bus that the motor hangs on."""
    id: int = Field(ge=0, le=0x7FF)
    """The motor's id on its bus."""
    model: str
    """The motor's model, as the driver of its bus knows it, for example `XM430-W350` or `DM4310`."""
    sign: Literal[1, -1] = 1
    """-1 when the joint turns against the motor."""
    offset: float = 0.0
    """Joint angle at the motor's zero, rad."""
    reduction: float = Field(default=1.0, gt=0)
    """Gear reduction between the motor's own output and the joint; above 1 the joint is slower."""
    position_min: float
    """Lowest joint angle that may be commanded, rad."""
    position_max: float
    """Highest joint angle that may be commanded, rad."""
    velocity_max: float = Field(gt=0)
    """Highest speed that may be commanded, rad/s."""
    acceleration_max: float = Field(gt=0)
    """Highest acceleration that may be commanded, rad/s²; every ramp to a stop uses it."""
    after_stop: Literal["limp", "hold", "brake"] = "limp"
    """What becomes of the joint after a controlled stop because of a fault or a safety function. `limp`: torque
    off. `hold`: it keeps its torque, and so does the whole robot, until `reset` or `disarm`; for a joint that
    would fall. `brake`: torque off, and the motor's own holding brake closes."""
    jerk_max: float | None = Field(default=None, gt=0)
    """Highest change of acceleration that may be commanded, rad/s³. Commands then trail their goals by up to
    `acceleration_max / jerk_max` (s), which has to be 0.5 s or less. Left out: not limited."""
    smoothing: float | None = Field(default=None, gt=0, le=10)
    """Time constant (s) of a first-order low-pass that goals pass before the limits. Left out: none."""
    torque_max: float | None = Field(default=None, gt=0)
    """Highest joint torque, Nm; required by drivers of torque-controlled motors."""
    torque_rate_max: float | None = Field(default=None, gt=0)
    """How fast the torque that commands ask of a motor in MIT mode may grow, Nm/s. With it, a command goes no
    further from the measured position than `torque_max` and this rate allow. Left out: commands do not depend on
    the measurement, and only the motor limits its torque."""
    kp: float | None = Field(default=None, ge=0)
    """Stiffness of the motor's position loop at the joint, Nm/rad; required by drivers in MIT mode."""
    kd: float | None = Field(default=None, ge=0)
    """Damping of the motor's position loop at the joint, Nms/rad; required by drivers in MIT mode."""

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Joint:
        if self.position_min >= self.position_max:
            raise ValueError(
                f"joint {self.name}: position_min {self.position_min} is not below "
                f"position_max {self.position_max}; give the lower angle first"
            )
        return self

    @model_validator(mode="after")
    def _jerk_window_is_short(self) -> Joint:
        if self.jerk_max is not None and self.jerk_window > LONGEST_JERK_WINDOW:
            lowest = 2 * self.acceleration_max / LONGEST_JERK_WINDOW
            raise ValueError(
                f"joint {self.name}: found jerk_max {self.jerk_max:g}, expected at least {lowest:g} "
                f"(2 acceleration_max / {LONGEST_JERK_WINDOW:g} s): a stop takes so much longer; raise it"
            )
        return self

    @model_validator(mode="after")
    def _torque_rate_has_a_law(self) -> Joint:
        if self.torque_rate_max is not None and not self.in_mit_mode:
            raise ValueError(
                f"joint {self.name}: found torque_rate_max without torque_max, kp above 0 and kd, from which the "
                "motor's torque follows; add them or remove it"
            )
        return self

    @property
    def in_mit_mode(self) -> bool:
        """The motor's torque follows from its command: kp (command - position) - kd velocity."""
        return bool(self.torque_max and self.kp and self.kd is not None)

    @property
    def jerk_window(self) -> float:
        """Time over which commands are averaged to keep to `jerk_max`, s; 0 without it."""
        return 2 * self.acceleration_max / self.jerk_max if self.jerk_max is not None else 0.0

    def to_motor(self, angle: float) -> float:
        """Motor angle (rad) at a joint angle (rad)."""
        return self.sign * (angle - self.offset) * self.reduction

    def from_motor(self, angle: float) -> float:
        """Joint angle (rad) at a motor angle (rad)."""
        return self.sign * angle / self.reduction + self.offset
