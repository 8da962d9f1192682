"""Damiao motors from the device's side: one object is all motors of one CAN bus.

Byte-exact after the maker's protocol (see `drivers.motors.damiao.frames`). Where the sources leave a question
open, the motor is silent: it does not answer a command of another mode, an unknown parameter or a save request.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from drivers.emulated.axis import Axis
from drivers.emulated.damiao_registers import (
    GEAR,
    OT_VALUE,
    OV_VALUE,
    P_M,
    REGISTERS,
    T_MOTOR,
    T_PCB,
    UV_VALUE,
    V_BUS,
    X_OUT,
    Registers,
)
from drivers.motors.damiao.frames import (
    CLEAR_ERROR,
    CTRL_MODE,
    DISABLE,
    DISABLED,
    ENABLE,
    ENABLED,
    ESC_ID,
    MODE_MIT,
    MODE_POS_FORCE,
    MODE_POS_VEL,
    MODE_VEL,
    MST_ID,
    PARAMETER_ID,
    READ,
    REFRESH,
    SAVE,
    SET_ZERO,
    TIMEOUT,
    WRITE,
    Feedback,
    Mit,
    Parameter,
    PosForce,
    PosVel,
    Vel,
)
from drivers.motors.damiao.limits import MODELS
from drivers.ports.can import CanFrame

REPLY_NS = 200_000
"""From a frame to its answer; motors take 0.1 to 0.3 ms."""
SAVE_NS = 30_000_000
"""A motor that writes its flash does not listen for this long."""

OVER_VOLTAGE, UNDER_VOLTAGE, OVER_CURRENT, ROTOR_HOT, COMMUNICATION_LOST, OVERLOAD = 0x8, 0x9, 0xA, 0xC, 0xD, 0xE

_SWITCHES = frozenset({ENABLE, DISABLE, SET_ZERO, CLEAR_ERROR})
_TIMEOUT_UNIT_NS = 50_000
_AMBIENT = 25.0  # °C
_HEATING = (
    3.0  # °C/s at full torque; warms to about 45 °C at a third of it and trips after half a minute at all of it
)
_COOLING_S = 60.0
_HEAT_STEP_NS = 100_000_000
_STIFFNESS = 10.0  # of the servo modes: full torque at 0.1 rad
_DAMPING = 1.0  # of the servo modes, and of the speed loop: full torque at 1 rad/s


class DamiaoDevices:
    """All motors of one bus. See `drivers.emulated.devices.DeviceBus`."""

    def __init__(self, motors: Sequence[tuple[str, int, int, str, Axis]]) -> None:
        """`motors`: (joint, ESC_ID, MST_ID, model, axis) of each."""
        self._motors = [DamiaoMotor(*motor) for motor in motors]
        self._routes: dict[int, tuple[DamiaoMotor, int]] = {}
        self._route()

    def __getitem__(self, joint: str) -> DamiaoMotor:
        """The motor of a joint. Raises KeyError."""
        for motor in self._motors:
            if motor.joint == joint:
                return motor
        raise KeyError(f"no joint {joint} on this bus; there are {', '.join(m.joint for m in self._motors)}")

    def receive(self, data: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        """Take one 16-byte `struct can_frame`; answers as (time at which they are sent, frame)."""
        try:
            frame = CanFrame.parse(data)
        except ValueError:
            return []
        if frame.id == PARAMETER_ID:
            return self._parameter(frame.data, now_ns)
        route = self._routes.get(frame.id)
        if route is None:
            return []
        motor, mode = route
        return motor.command(mode, frame.data, now_ns) if motor.listens(now_ns) else []

    def advance(self, now_ns: int) -> None:
        """Watchdogs, set-points on their way, heat."""
        for motor in self._motors:
            motor.advance(now_ns)

    def fault(self, joint: str, kind: str, value: float = 1.0) -> None:
        """Break the motor of a joint.

        `dead`; `brown_out`; `over_temperature` (rotor at `value` °C, at least hot enough to trip); `overload`,
        `over_current`; `over_voltage`, `under_voltage`; `clear`: the cause is gone, and a dead motor is back as
        after a restart. An error that has latched stays until the host clears it. Raises KeyError, ValueError.
        """
        self[joint].break_down(kind, value)

    def _parameter(self, data: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        if len(data) < 3:
            return []
        asked = Parameter.parse(data.ljust(8, b"\0"))
        route = self._routes.get(asked.motor)
        if route is None or asked.motor != route[0].registers[ESC_ID] or not route[0].listens(now_ns):
            return []
        motor = route[0]
        if asked.command == WRITE and asked.number == ESC_ID and int(asked.value) in self._routes:
            return []
        replies = motor.parameter(asked, now_ns)
        if asked.command == WRITE and asked.number == ESC_ID:
            self._route()
        return replies

    def _route(self) -> None:
        self._routes.clear()
        for motor in self._motors:
            for mode in (MODE_MIT, MODE_POS_VEL, MODE_VEL, MODE_POS_FORCE):
                can_id = (mode - 1) * 0x100 + int(motor.registers[ESC_ID])
                if can_id in self._routes:
                    other = self._routes[can_id][0].joint
                    raise ValueError(f"joints {other} and {motor.joint} both listen on id {can_id:#x}")
                self._routes[can_id] = (motor, mode)


class DamiaoMotor:
    """One motor: registers, state machine, drive laws."""

    def __init__(self, joint: str, esc_id: int, mst_id: int, model: str, axis: Axis) -> None:
        if model not in MODELS:
            raise ValueError(f"joint {joint}: unknown model {model}; known are {', '.join(MODELS)}")
        self.joint = joint
        self.registers = Registers(esc_id, mst_id, MODELS[model][0], 48.0 if model.endswith("48V") else 24.0)
        self.status = DISABLED
        self.dead = False
        self.mosfet = self.rotor = _AMBIENT
        self._axis = axis
        self._limits = self.registers.limits
        self._torque_max = MODELS[model][0].torque
        self._volts = self.registers[V_BUS]
        self._zero = 0.0
        self._heard_ns = 0
        self._deaf_until_ns = 0
        self._advanced_ns = 0
        self._heated_ns = 0
        self._ramp: _Ramp | None = None

    def listens(self, now_ns: int) -> bool:
        """Whether a frame reaches the motor now. One that does feeds its watchdog, if that has not tripped yet."""
        if self.dead or now_ns < self._deaf_until_ns:
            return False
        self._watch(now_ns)
        self._heard_ns = now_ns
        return True

    def command(self, mode: int, data: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        """A frame on one of the motor's command ids."""
        active = int(self.registers[CTRL_MODE])
        if data in _SWITCHES:
            if mode not in (MODE_MIT, active):
                return []
            self._switch(data)
        elif mode != active:
            return []
        elif mode == MODE_MIT and len(data) == 8:
            if self.status == ENABLED:
                self._drive_mit(Mit.parse(data, self._limits))
        elif not self._drive_servo(mode, data):
            return []
        return self._reply(self._feedback(), now_ns)

    def parameter(self, asked: Parameter, now_ns: int) -> list[tuple[int, bytes]]:
        """A request on PARAMETER_ID."""
        if asked.command == REFRESH:
            return self._reply(self._feedback(), now_ns)
        if asked.command == SAVE:
            if self.status != ENABLED:
                self.registers.save()
                self._deaf_until_ns = now_ns + SAVE_NS
            return []
        if asked.command not in (READ, WRITE) or asked.number not in REGISTERS:
            return []
        if asked.command == WRITE and self.registers.write(asked.number, asked.value):
            self._limits = self.registers.limits
            if asked.number == CTRL_MODE:
                self._limp()
        value = self._measured(asked.number)
        motor = asked.motor  # the answer to a new ESC_ID still carries the old one
        return self._reply(Parameter(motor, asked.command, asked.number, value).pack(), now_ns)

    def advance(self, now_ns: int) -> None:
        """Watchdog, set-point, heat."""
        self._watch(now_ns)
        seconds = (now_ns - self._advanced_ns) * 1e-9 if self._advanced_ns else 0.0
        self._advanced_ns = now_ns
        if self._ramp is not None:
            self._follow(seconds)
        if now_ns - self._heated_ns >= _HEAT_STEP_NS:
            if self._heated_ns:
                self._heat((now_ns - self._heated_ns) * 1e-9)
            self._heated_ns = now_ns

    def break_down(self, kind: str, value: float) -> None:
        """See `DamiaoDevices.fault`."""
        registers = self.registers
        if kind == "dead":
            self.dead = True
            self._restart()
        elif kind == "brown_out":
            self._restart()
        elif kind == "over_temperature":
            self.rotor = max(value, registers[OT_VALUE] + 5)
            self._trip(ROTOR_HOT)
        elif kind == "overload":
            self._trip(OVERLOAD)
        elif kind == "over_current":
            self._trip(OVER_CURRENT)
        elif kind == "over_voltage":
            self._volts = registers[OV_VALUE] + 1
            self._trip(OVER_VOLTAGE)
        elif kind == "under_voltage":
            self._volts = registers[UV_VALUE] - 1
            self._trip(UNDER_VOLTAGE)
        elif kind == "clear":
            self.dead = False
            self.mosfet = self.rotor = _AMBIENT
            self._volts = registers[V_BUS]
        else:
            raise ValueError(
                f"a Damiao motor has no fault {kind}; it has dead, brown_out, over_temperature, overload, "
                "over_current, over_voltage, under_voltage and clear"
            )

    # -- state machine

    def _switch(self, data: bytes) -> None:
        if data == ENABLE and self.status == DISABLED:
            self.status = ENABLED
        elif data == DISABLE and self.status == ENABLED:
            self.status = DISABLED
            self._limp()
        elif data == CLEAR_ERROR and self.status not in (DISABLED, ENABLED):
            self.status = self._cause()
        elif data == SET_ZERO and self.status != ENABLED:
            self._zero = self._axis.position

    def _cause(self) -> int:
        """What would trip the motor again at once, or DISABLED."""
        if self.rotor >= self.registers[OT_VALUE]:
            return ROTOR_HOT
        if self._volts > self.registers[OV_VALUE]:
            return OVER_VOLTAGE
        return UNDER_VOLTAGE if self._volts < self.registers[UV_VALUE] else DISABLED

    def _watch(self, now_ns: int) -> None:
        timeout_ns = self.registers[TIMEOUT] * _TIMEOUT_UNIT_NS
        if timeout_ns and self.status == ENABLED and now_ns - self._heard_ns > timeout_ns:
            self._trip(COMMUNICATION_LOST)

    def _trip(self, status: int) -> None:
        self.status = status
        self._limp()

    def _restart(self) -> None:
        self.registers.restart()
        self._limits = self.registers.limits
        self.status = DISABLED
        self._limp()

    def _limp(self) -> None:
        self._ramp = None
        self._axis.limp()

    def _heat(self, seconds: float) -> None:
        load = self._axis.torque / self._torque_max
        self.rotor += seconds * (_HEATING * load * load - (self.rotor - _AMBIENT) / _COOLING_S)
        self.mosfet += seconds * (_HEATING / 2 * load * load - (self.mosfet - _AMBIENT) / _COOLING_S)
        if self.rotor >= self.registers[OT_VALUE] and self.status in (DISABLED, ENABLED):
            self._trip(ROTOR_HOT)

    # -- drive laws, in the motor's coordinates: its zero is where SET_ZERO found it

    def _drive_mit(self, asked: Mit) -> None:
        bias = asked.kp * (asked.position + self._zero) + asked.kd * asked.velocity + asked.torque
        self._axis.drive(asked.kp, asked.kd, bias, self._torque_max)

    def _drive_servo(self, mode: int, data: bytes) -> bool:
        """A command of one of the other modes; False when it is not one."""
        if mode == MODE_VEL and len(data) in (4, 8):
            speed = Vel.parse(data).velocity
            if not math.isfinite(speed):
                return False
            if self.status == ENABLED:
                damping = _DAMPING * self._torque_max
                self._axis.drive(0.0, damping, damping * speed, self._torque_max)
            return True
        if len(data) != 8 or mode not in (MODE_POS_VEL, MODE_POS_FORCE):
            return False
        if mode == MODE_POS_VEL:
            pos_vel = PosVel.parse(data)
            goal, speed, torque = pos_vel.position, abs(pos_vel.velocity), self._torque_max
        else:
            pos_force = PosForce.parse(data)
            goal, speed = pos_force.position, pos_force.velocity
            torque = pos_force.current * self._torque_max
        if not (math.isfinite(goal) and math.isfinite(speed)):
            return False
        if self.status == ENABLED:
            start = self._axis.position - self._zero if self._ramp is None else self._ramp.position
            self._ramp = _Ramp(start, goal, speed, torque)
            self._follow(0.0)
        return True

    def _follow(self, seconds: float) -> None:
        ramp = self._ramp
        assert ramp is not None
        reach = ramp.speed * seconds
        ramp.position += min(max(ramp.goal - ramp.position, -reach), reach)
        kp, kd = _STIFFNESS * self._torque_max, _DAMPING * self._torque_max
        self._axis.drive(kp, kd, kp * (ramp.position + self._zero), ramp.torque)

    # -- answers

    def _feedback(self) -> bytes:
        axis = self._axis
        return Feedback(
            self.status,
            int(self.registers[ESC_ID]),
            axis.position - self._zero,
            axis.velocity,
            axis.torque,
            min(max(int(self.mosfet), 0), 255),
            min(max(int(self.rotor), 0), 255),
        ).pack(self._limits)

    def _measured(self, number: int) -> float:
        if number == V_BUS:
            return self._volts
        if number == T_PCB:
            return self.mosfet
        if number == T_MOTOR:
            return self.rotor
        if number == X_OUT:
            return self._axis.position - self._zero
        if number == P_M:
            return (self._axis.position - self._zero) * self.registers[GEAR]
        return self.registers[number]

    def _reply(self, data: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        return [(now_ns + REPLY_NS, CanFrame(int(self.registers[MST_ID]), data).pack())]


class _Ramp:
    """A set-point on its way to a goal."""

    __slots__ = ("goal", "position", "speed", "torque")

    def __init__(self, position: float, goal: float, speed: float, torque: float) -> None:
        self.position = position
        self.goal = goal
        self.speed = speed
        self.torque = torque
