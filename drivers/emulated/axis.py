"""The shaft that an emulated motor turns, and the change between motor and joint coordinates."""

from __future__ import annotations

from typing import Protocol


class Axis(Protocol):
    """One shaft in the plant: what it does now, and the law that drives it.

    The law is linear so that the plant can evaluate it at every physics step, between two commands too:
    `torque = clip(bias - kp * position - kd * velocity, -limit, +limit)`.
    MIT mode `kp (p - q) + kd (v - dq) + t` is `drive(kp, kd, kp * p + kd * v + t, limit)`; a position servo is
    the same with its own stiffness.
    """

    @property
    def position(self) -> float:
        """Angle, rad."""

    @property
    def velocity(self) -> float:
        """Speed, rad/s."""

    @property
    def torque(self) -> float:
        """Torque that acts now, Nm."""

    def drive(self, kp: float, kd: float, bias: float, limit: float) -> None:
        """Use this law from now on: stiffness Nm/rad, damping Nms/rad, bias and limit Nm."""

    def limp(self) -> None:
        """No torque from now on."""


class MotorAxis:
    """A joint's axis as its motor sees it: `joint = sign * motor / reduction + offset`.

    Torque follows from equal power on both sides: `motor torque = sign * joint torque / reduction`.
    """

    __slots__ = ("_joint", "_offset", "_ratio")

    def __init__(self, joint: Axis, sign: int = 1, offset: float = 0.0, reduction: float = 1.0) -> None:
        self._joint = joint
        self._offset = offset
        self._ratio = sign * reduction

    @property
    def position(self) -> float:
        """Angle of the motor, rad."""
        return (self._joint.position - self._offset) * self._ratio

    @property
    def velocity(self) -> float:
        """Speed of the motor, rad/s."""
        return self._joint.velocity * self._ratio

    @property
    def torque(self) -> float:
        """Torque of the motor, Nm."""
        return self._joint.torque / self._ratio

    def drive(self, kp: float, kd: float, bias: float, limit: float) -> None:
        """Give the joint the law that is the same as this one at the motor."""
        ratio = self._ratio
        square = ratio * ratio
        self._joint.drive(kp * square, kd * square, bias * ratio + kp * square * self._offset, limit * abs(ratio))

    def limp(self) -> None:
        """No torque from now on."""
        self._joint.limp()
