"""How an emulated Dynamixel moves: the profile of its goal, and the law that it puts on its shaft."""

from __future__ import annotations

import math

from drivers.emulated.axis import Axis
from drivers.emulated.dynamixel_table import ControlTable
from drivers.emulated.servo import ServoLaw
from drivers.motors.dynamixel.models import Model
from drivers.motors.dynamixel.table import (
    CURRENT_LIMIT,
    DRIVE_MODE,
    DRIVE_REVERSE,
    DRIVE_TIME_PROFILE,
    GOAL_CURRENT,
    GOAL_POSITION,
    GOAL_PWM,
    GOAL_VELOCITY,
    HOMING_OFFSET,
    MODE_CURRENT,
    MODE_CURRENT_POSITION,
    MODE_EXTENDED,
    MODE_POSITION,
    MODE_PWM,
    MODE_VELOCITY,
    OPERATING_MODE,
    POSITION_P_GAIN,
    POSITION_UNIT,
    PROFILE_ACCELERATION,
    PROFILE_VELOCITY,
    PWM_LIMIT,
    TURN,
    VELOCITY_LIMIT,
    VELOCITY_UNIT,
    ZERO_TICK,
)

POSITION_MODES = (MODE_POSITION, MODE_EXTENDED, MODE_CURRENT_POSITION)
_ACCELERATION_UNIT = 214.577 * 2 * math.pi / 3600
_PWM_FULL = 885
_NO_CURRENT_UNIT = 1e-3  # A per count where a model reports no current: only current modes would use it


class Motion:
    """Goal registers in, drive law out.

    Position modes: `torque = clip(kp (trajectory - q) - kd dq)` with the stiffness of `servo.py`, scaled by the
    Position P Gain against its default and limited by Goal PWM (mode 5: by Goal Current). The trajectory is the
    goal itself, or follows the profile (trapezoid; time-based: constant speed). Velocity mode is a stiff damper
    around the goal, current mode a torque, PWM mode a motor whose torque falls with its speed.
    """

    def __init__(self, table: ControlTable, model: Model, law: ServoLaw, axis: Axis) -> None:
        self._table = table
        self._model = model
        self._law = law
        self._axis = axis
        self._turns = 0
        self._duration_s = 0.0
        self.trajectory = float(self.position)
        """Where the profile is, pulses."""
        self.speed = 0.0
        """Speed of the profile, pulses/s."""

    @property
    def position(self) -> int:
        """Present position, pulses."""
        pulses = self._sign * self._axis.position / POSITION_UNIT
        return round(pulses) + ZERO_TICK + self._table[HOMING_OFFSET] - self._turns * TURN

    @property
    def velocity(self) -> float:
        """Present speed, rad/s."""
        return self._sign * self._axis.velocity

    @property
    def torque(self) -> float:
        """Torque at the shaft, Nm."""
        return self._sign * self._axis.torque

    @property
    def stall_torque(self) -> float:
        """Largest torque, Nm."""
        return self._law.limit

    @property
    def ongoing(self) -> bool:
        """Whether the profile has not reached the goal yet."""
        return self._in_position_mode and self.trajectory != self._table[GOAL_POSITION]

    def forget_turns(self) -> None:
        """Count turns from here on: the present position becomes 0 to 4095."""
        self._turns += (self.position - self._table[HOMING_OFFSET]) // TURN
        self.stop()

    def stop(self) -> None:
        """Make the present state the goal: stand still here."""
        table = self._table
        table[GOAL_POSITION] = self.position
        table[GOAL_VELOCITY] = 0
        for register in (GOAL_PWM, GOAL_CURRENT):
            if register.address in table.registers:
                limit = table[PWM_LIMIT if register is GOAL_PWM else CURRENT_LIMIT]
                table[register] = limit if self._in_position_mode else 0
        self.trajectory = float(self.position)
        self.speed = 0.0

    def begin(self) -> None:
        """A new goal position was written."""
        table = self._table
        if table[DRIVE_MODE] & DRIVE_TIME_PROFILE:
            self._duration_s = table[PROFILE_VELOCITY] * 1e-3
        self.advance(0.0)

    def advance(self, seconds: float) -> None:
        """Let the profile run."""
        table = self._table
        goal = float(table[GOAL_POSITION])
        distance = goal - self.trajectory
        if not table[PROFILE_VELOCITY] or not self._in_position_mode:
            self.trajectory, self.speed = goal, 0.0
            return
        if table[DRIVE_MODE] & DRIVE_TIME_PROFILE:
            part = min(1.0, seconds / self._duration_s) if self._duration_s > 0 else 1.0
            self._duration_s = max(0.0, self._duration_s - seconds)
            self.speed = distance * part / seconds if seconds else 0.0
            self.trajectory += distance * part
            return
        top = table[PROFILE_VELOCITY] * VELOCITY_UNIT / POSITION_UNIT
        acceleration = table[PROFILE_ACCELERATION] * _ACCELERATION_UNIT / POSITION_UNIT
        if acceleration:
            top = min(top, abs(self.speed) + acceleration * seconds, math.sqrt(2 * acceleration * abs(distance)))
        step = min(abs(distance), top * seconds)
        self.trajectory += math.copysign(step, distance)
        self.speed = math.copysign(top, distance) if step < abs(distance) else 0.0

    def drive(self) -> None:
        """Put the law of the operating mode on the shaft."""
        table, law, sign = self._table, self._law, self._sign
        mode = table[OPERATING_MODE]
        share = abs(table[GOAL_PWM]) / _PWM_FULL
        if mode in POSITION_MODES:
            limit = law.limit * min(1.0, share)
            if mode == MODE_CURRENT_POSITION:
                limit = min(limit, abs(self._current_torque))
            kp = law.kp * table[POSITION_P_GAIN] / table.default(POSITION_P_GAIN)
            pulses = self.trajectory - ZERO_TICK - table[HOMING_OFFSET] + self._turns * TURN
            self._axis.drive(kp, law.kd, kp * sign * pulses * POSITION_UNIT, limit)
        elif mode == MODE_VELOCITY:
            self._axis.drive(0.0, law.kd, law.kd * sign * table[GOAL_VELOCITY] * VELOCITY_UNIT, law.limit)
        elif mode == MODE_PWM:
            free = table.default(VELOCITY_LIMIT) * VELOCITY_UNIT
            torque = law.limit * table[GOAL_PWM] / _PWM_FULL
            self._axis.drive(0.0, law.limit / free, sign * torque, law.limit)
        elif mode == MODE_CURRENT:
            self._axis.drive(0.0, 0.0, sign * self._current_torque, law.limit)

    def limp(self) -> None:
        """No torque."""
        self._axis.limp()

    @property
    def _current_torque(self) -> float:
        return self._table[GOAL_CURRENT] * self._model.current_unit * self._model.torque_constant

    @property
    def _sign(self) -> int:
        return -1 if self._table[DRIVE_MODE] & DRIVE_REVERSE else 1

    @property
    def _in_position_mode(self) -> bool:
        return self._table[OPERATING_MODE] in POSITION_MODES
