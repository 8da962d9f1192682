"""One motor as its bus keeps it: the joint's numbers as the frame's integers, and what it still has to answer."""

from __future__ import annotations

import struct

from drivers.joint import Joint
from drivers.motors.damiao.frames import (
    CLEAR_ERROR,
    DISABLE,
    ENABLE,
    ENABLED,
    PARAMETER_ID,
    POSITION_STEPS,
    ROUNDING,
    STEPS,
    Mit,
    Parameter,
    refresh,
)
from drivers.motors.damiao.limits import Limits
from drivers.ports.can import CanFrame, header

POSITION_TOP = POSITION_STEPS - 1
"""Highest position that is sent: below full scale no command can equal ENABLE, DISABLE or their like."""

_PACK = struct.Struct(">8sH6s").pack


class Motor:
    """Joint and motor coordinates: joint = sign * motor / reduction + offset (positions), sign * motor / reduction
    (speeds), sign * motor * reduction (torques). The same power on both sides gives kp and kd at the motor as
    those at the joint, divided by reduction squared.
    """

    __slots__ = (
        "_head",
        "_limits",
        "_tail",
        "asked_ns",
        "clear",
        "disable",
        "enable",
        "goal_base",
        "goal_scale",
        "healthy",
        "id",
        "index",
        "joint",
        "low",
        "name",
        "older_ns",
        "open",
        "position_base",
        "position_scale",
        "refresh",
        "reply_id",
        "silent",
        "torque_base",
        "torque_scale",
        "velocity_base",
        "velocity_scale",
        "watched",
    )

    def __init__(self, joint: Joint, index: int, reply_id: int, limits: Limits) -> None:
        self.joint = joint
        self.name = joint.name
        self.id = joint.id
        self.reply_id = reply_id
        self.index = index
        """Place of the joint in the robot's arrays."""
        self.low = joint.id & 0x0F
        self.healthy = self.low
        """First byte of its feedback when all is as it should be."""
        self.enable = CanFrame(joint.id, ENABLE).pack()
        self.disable = CanFrame(joint.id, DISABLE).pack()
        self.clear = CanFrame(joint.id, CLEAR_ERROR).pack()
        self.refresh = CanFrame(PARAMETER_ID, refresh(joint.id)).pack()
        self._head = header(joint.id)

        self.asked_ns = 0
        """Time of the newest request."""
        self.older_ns = 0
        """Time of the request before it, when that may still be answered; else 0."""
        self.open = False
        """Whether the newest request may still be answered."""
        self.silent = 0
        """0: it has answered since the newest request; ASKED: it has not; UNSENT: it could not even be asked."""
        self.watched = False
        """Its own watchdog was set, and read back."""
        self.limits = limits

    @property
    def limits(self) -> Limits:
        """The motor's full scales."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits
        joint, sign, reduction = self.joint, self.joint.sign, self.joint.reduction
        steps = POSITION_STEPS / (2 * limits.position)
        self.goal_scale = sign * reduction * steps
        self.goal_base = (limits.position - sign * reduction * joint.offset) * steps + ROUNDING
        self.position_scale = sign / reduction / steps
        self.position_base = joint.offset - sign * limits.position / reduction
        self.velocity_scale = sign * 2 * limits.velocity / STEPS / reduction
        self.velocity_base = -sign * limits.velocity / reduction
        self.torque_scale = sign * 2 * limits.torque / STEPS * reduction
        self.torque_base = -sign * limits.torque * reduction
        # Stiffness, damping, speed 0 and torque 0 never change: only the position is new in every command.
        self._tail = Mit(kp=self.motor_kp, kd=self.motor_kd).pack(limits)[2:]

    @property
    def motor_kp(self) -> float:
        """Stiffness at the motor, Nm/rad."""
        return (self.joint.kp or 0.0) / self.joint.reduction**2

    @property
    def motor_kd(self) -> float:
        """Damping at the motor, Nms/rad."""
        return (self.joint.kd or 0.0) / self.joint.reduction**2

    def set_energised(self, on: bool) -> None:
        """What the motor's feedback has to say from now on."""
        self.healthy = ENABLED << 4 | self.low if on else self.low

    def forget(self) -> None:
        """Expect no answer any more."""
        self.open = False
        self.older_ns = 0
        self.silent = 0

    def command(self, goal: float) -> bytes:
        """The MIT frame for a goal angle of the joint (rad). Raises ValueError or OverflowError unless finite."""
        raw = int(goal * self.goal_scale + self.goal_base)
        if raw > POSITION_TOP:
            raw = POSITION_TOP
        elif raw < 0:
            raw = 0
        return _PACK(self._head, raw, self._tail)

    def hold(self, feedback: bytes) -> bytes:
        """The MIT frame that holds the motor where its feedback (eight data bytes) says it is."""
        raw = min(int.from_bytes(feedback[1:3], "big"), POSITION_TOP)
        return _PACK(self._head, raw, self._tail)

    def relax(self) -> bytes:
        """A MIT frame without stiffness, damping or torque."""
        return CanFrame(self.id, Mit().pack(self._limits)).pack()

    def parameter(self, command: int, number: int, value: float = 0) -> bytes:
        """A parameter request."""
        return CanFrame(PARAMETER_ID, Parameter(self.id, command, number, value).pack()).pack()
