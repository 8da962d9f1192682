"""One emulated Dynamixel of the X series: what its firmware does with a packet and with time.

Facts: the ROBOTIS e-manual. Where it is silent, the choice is named in a comment.
"""

from __future__ import annotations

import struct

from drivers.emulated.axis import Axis
from drivers.emulated.dynamixel_motion import POSITION_MODES, Motion
from drivers.emulated.dynamixel_table import ControlTable
from drivers.emulated.servo import SERVOS
from drivers.motors.dynamixel import table as reg
from drivers.motors.dynamixel.frames import ALERT, BROADCAST, ID_MAX, Code, Error, Instruction, Status
from drivers.motors.dynamixel.models import MODELS

FACTORY_FIRMWARE = 46
_BAUD_1M = 3
_BOOT_NS = 300_000_000  # not documented; long enough to be noticed
_SUPPLY_V = 12.0
_AMBIENT_C = 30.0
_HEATING_C = 40.0  # above ambient at stall, in the end
_HEATING_S = 120.0
_GOALS = (reg.GOAL_PWM, reg.GOAL_CURRENT, reg.GOAL_VELOCITY, reg.GOAL_POSITION)
_IN_POSITION, _FOLLOWING_ERROR_TICKS = 8, 100
_CLEAR_KEY = b"\x01DXL\x22"
_BACKUP_KEY = b"CTRL"


class Servo:
    """A motor on a bus. It neither sees other motors nor the wire: `DynamixelDevices` brings it its packets."""

    def __init__(self, joint: str, ident: int, model: str, axis: Axis, firmware: int = FACTORY_FIRMWARE) -> None:
        if model not in MODELS or model not in SERVOS:
            known = ", ".join(SERVOS)
            raise ValueError(f"joint {joint}: no emulated servo is called {model!r}; there are {known}")
        self.joint = joint
        self.model = MODELS[model]
        self.dead = False
        self.table = ControlTable(self.model, ident, firmware)
        self.table[reg.BAUD_RATE] = _BAUD_1M
        self._motion = Motion(self.table, self.model, SERVOS[model], axis)
        self._now_ns = 0
        self._advanced_ns = 0
        self._boot_ns = 0
        self._heard_ns = 0
        self._temperature = _AMBIENT_C
        self._overheated_by: float | None = None
        self._registered: tuple[int, bytes] | None = None
        self._backup: dict[reg.Register, int] = {}
        self._motion.forget_turns()

    @property
    def id(self) -> int:
        """Its id."""
        return self.table[reg.ID]

    @property
    def awake(self) -> bool:
        """Whether it hears and answers."""
        return not self.dead and self._now_ns >= self._boot_ns

    @property
    def torque_on(self) -> bool:
        """Whether it drives its shaft."""
        return self.table[reg.TORQUE_ENABLE] == 1

    @property
    def return_delay_ns(self) -> int:
        """How long it waits before it answers."""
        return round(self.table[reg.RETURN_DELAY] * reg.RETURN_DELAY_UNIT * 1e9)

    @property
    def fast(self) -> bool:
        """Whether it knows Fast Sync Read."""
        first = self.model.fast_firmware
        return first is not None and self.table[reg.FIRMWARE] >= first

    # Time ---------------------------------------------------------------------------------------------------

    def advance(self, now_ns: int) -> None:
        """Watchdog, heat, profile; then the law on the shaft."""
        self._now_ns = now_ns
        self._watch()
        seconds = self._move()
        effort = self._motion.torque / self._motion.stall_torque
        target = _AMBIENT_C + _HEATING_C * min(1.0, effort * effort)
        self._temperature += (target - self._temperature) * min(1.0, seconds / _HEATING_S)
        if self._overheated_by is not None:
            self._temperature = self.table[reg.TEMPERATURE_LIMIT] + self._overheated_by
        if self._temperature > self.table[reg.TEMPERATURE_LIMIT]:
            self._hardware_error(reg.ERROR_OVERHEATING)
        self._drive()

    def _move(self) -> float:
        """Let the profile run until now; for how many seconds."""
        seconds = (self._now_ns - self._advanced_ns) * 1e-9 if self._advanced_ns else 0.0
        self._advanced_ns = self._now_ns
        self._motion.advance(seconds)
        return seconds

    def hear(self, now_ns: int) -> None:
        """A good instruction packet is on the bus; any feeds the watchdog."""
        self._now_ns = now_ns
        if self.awake:
            self._watch()
            self._heard_ns = now_ns

    def fault(self, kind: str, value: float) -> None:
        """Break it, or repair it; see `DeviceBus.fault`. `value`: K above the limit for `over_temperature`."""
        if kind == "dead":
            self.dead = True
            self._motion.limp()
        elif kind == "brown_out":
            self._boot()
        elif kind == "over_temperature":
            self._overheated_by = value
        elif kind == "overload":
            self._hardware_error(reg.ERROR_OVERLOAD)
        elif kind == "clear":
            # The cause goes away; a latched hardware error stays until the motor is restarted, as on a real one.
            self._overheated_by = None
            self._temperature = _AMBIENT_C
            if self.dead:
                self.dead = False
                self._boot()
        else:
            raise ValueError(f"joint {self.joint}: unknown fault {kind!r}")

    def _watch(self) -> None:
        limit = self.table[reg.BUS_WATCHDOG]
        if not self.torque_on or limit in (0, reg.WATCHDOG_TRIPPED):
            return
        if self._now_ns - self._heard_ns > limit * reg.WATCHDOG_UNIT * 1e9:
            self.table[reg.BUS_WATCHDOG] = reg.WATCHDOG_TRIPPED
            self.table[reg.PROFILE_VELOCITY] = self.table[reg.PROFILE_ACCELERATION] = 0
            self._motion.stop()
            self._drive()

    def _hardware_error(self, bit: int) -> None:
        self.table[reg.HARDWARE_ERROR] |= bit
        if self.table[reg.HARDWARE_ERROR] & self.table[reg.SHUTDOWN]:
            self.table[reg.TORQUE_ENABLE] = 0
            self._drive()

    def _boot(self) -> None:
        # Backup restore at boot (bit 1 of the startup configuration) is not emulated: no driver of ours asks.
        self.table.reset(reg.EEPROM_END)
        self._registered = None
        self._boot_ns = self._now_ns + _BOOT_NS
        self.table[reg.BACKUP_READY] = int(bool(self._backup))
        self._motion.forget_turns()
        if self.table[reg.STARTUP] & reg.STARTUP_TORQUE_ON:
            self.table[reg.TORQUE_ENABLE] = 1
        self._drive()

    def _drive(self) -> None:
        if self.torque_on and not self.dead:
            self._motion.drive()
        else:
            self._motion.limp()

    # Packets --------------------------------------------------------------------------------------------------

    def handle(self, packet: Instruction) -> Status | None:
        """Obey a packet that is for this motor alone, or Action, Reboot ... for all; None: no answer."""
        if packet.code == Code.PING:
            params = struct.pack("<HB", self.model.number, self.table[reg.FIRMWARE])
            return self._status(Error.NONE, params)
        if packet.code == Code.READ:
            if len(packet.params) != 4:
                return self._answer(packet, Error.DATA_LENGTH, level=1)
            error, data = self.read(*struct.unpack("<HH", packet.params))
            return self._answer(packet, error, data, level=1)
        level = self.table[reg.STATUS_RETURN_LEVEL]  # the answer goes by the level before the write
        alert = ALERT if self.table[reg.HARDWARE_ERROR] else 0
        error = self._obey(packet)
        if packet.id == BROADCAST or level < 2:
            return None
        # After a reboot or a change of id the answer still comes from the motor as it was.
        return Status(packet.id, error | alert)

    def crc_error(self) -> Status | None:
        """The answer to a damaged packet."""
        return self._status(Error.CRC) if self.table[reg.STATUS_RETURN_LEVEL] == 2 else None

    def read(self, address: int, length: int) -> tuple[int, bytes]:
        """Error number and bytes."""
        self._measure()
        return self.table.read(address, length)

    def answer_read(self, address: int, length: int) -> Status | None:
        """Its part in the answer to a Sync or Bulk Read."""
        if self.table[reg.STATUS_RETURN_LEVEL] < 1:
            return None
        return self._status(*self.read(address, length))

    def write(self, address: int, data: bytes) -> int:
        """Write registers, all or none; error number."""
        error, writes = self.table.resolve(address, data)
        if error:
            return error
        for register, value in writes:
            error = self._check(register, value)
            if error:
                return error
        for register, value in writes:
            self._apply(register, value)
        self._drive()
        return Error.NONE

    def _status(self, error: int, params: bytes = b"") -> Status:
        alert = ALERT if self.table[reg.HARDWARE_ERROR] else 0
        return Status(self.id, error | alert, params)

    def _answer(self, packet: Instruction, error: int, params: bytes = b"", level: int = 2) -> Status | None:
        if packet.id == BROADCAST or self.table[reg.STATUS_RETURN_LEVEL] < level:
            return None
        return self._status(error, params)

    def _obey(self, packet: Instruction) -> int:
        params = packet.params
        match packet.code:
            case Code.WRITE:
                return self.write(*_address(params)) if len(params) > 2 else Error.DATA_LENGTH
            case Code.REG_WRITE:
                if len(params) <= 2:
                    return Error.DATA_LENGTH
                error, writes = self.table.resolve(*_address(params))
                error = error or next((e for r, v in writes if (e := self._check(r, v))), Error.NONE)
                if not error:
                    self._registered = _address(params)
                    self.table[reg.REGISTERED_INSTRUCTION] = 1
                return error
            case Code.ACTION:
                if self._registered is None:
                    return Error.INSTRUCTION
                registered, self._registered = self._registered, None
                self.table[reg.REGISTERED_INSTRUCTION] = 0
                return self.write(*registered)
            case Code.REBOOT:
                self._boot()
                return Error.NONE
            case Code.CLEAR:
                self._measure()
                if params != _CLEAR_KEY or self.table[reg.MOVING]:
                    return Error.RESULT_FAIL
                self._motion.forget_turns()
                return Error.NONE
            case Code.FACTORY_RESET:
                return self._factory_reset(packet)
            case Code.BACKUP:
                return self._back_up(params)
        return Error.INSTRUCTION

    def _factory_reset(self, packet: Instruction) -> int:
        keep = {b"\xff": (), b"\x01": (reg.ID,), b"\x02": (reg.ID, reg.BAUD_RATE)}.get(packet.params)
        if keep is None:
            return Error.DATA_RANGE
        if packet.id == BROADCAST and packet.params == b"\xff" and self.table[reg.FIRMWARE] >= 42:
            return Error.NONE
        self.table.reset(0, keep)
        self._boot()
        return Error.NONE

    def _back_up(self, params: bytes) -> int:
        if params[1:] != _BACKUP_KEY or params[0] not in (1, 2):
            return Error.DATA_RANGE
        if self.torque_on or not self.fast:
            return Error.RESULT_FAIL
        if params[0] == 1:
            self._backup = self.table.backed_up
            self.table[reg.BACKUP_READY] = 1
            return Error.NONE
        if not self._backup:
            return Error.RESULT_FAIL
        # The manual: restoring ends with a restart; the RAM part of the backup is there afterwards.
        self._boot()
        for register, value in self._backup.items():
            self.table[register] = value
        return Error.NONE

    # Registers ------------------------------------------------------------------------------------------------

    def _check(self, register: reg.Register, value: int) -> int:
        table = self.table
        if register.address < reg.EEPROM_END and self.torque_on:
            return Error.ACCESS
        if register in _GOALS and table[reg.BUS_WATCHDOG] == reg.WATCHDOG_TRIPPED:
            return Error.DATA_RANGE
        # The manual does not say what a tripped watchdog answers to a value; only 0 is named as the way out.
        if register is reg.BUS_WATCHDOG and value and table[reg.BUS_WATCHDOG] == reg.WATCHDOG_TRIPPED:
            return Error.DATA_RANGE
        if register is reg.TORQUE_ENABLE and value and table[reg.HARDWARE_ERROR] & table[reg.SHUTDOWN]:
            return Error.RESULT_FAIL
        if register is reg.OPERATING_MODE and value not in self._modes:
            return Error.DATA_RANGE
        if register is reg.GOAL_POSITION and table[reg.OPERATING_MODE] == reg.MODE_POSITION:
            within = table[reg.MIN_POSITION_LIMIT] <= value <= table[reg.MAX_POSITION_LIMIT]
            return Error.NONE if within else Error.DATA_LIMIT
        limit = {
            reg.GOAL_PWM: reg.PWM_LIMIT,
            reg.GOAL_CURRENT: reg.CURRENT_LIMIT,
            reg.GOAL_VELOCITY: reg.VELOCITY_LIMIT,
        }.get(register)
        if limit is not None and abs(value) > table[limit]:
            return Error.DATA_LIMIT
        return Error.NONE

    @property
    def _modes(self) -> tuple[int, ...]:
        has_current = reg.CURRENT_LIMIT.address in self.table.registers
        return (0, 1, 3, 4, 5, 16) if has_current else (1, 3, 4, 16)

    def _apply(self, register: reg.Register, value: int) -> None:
        table, motion = self.table, self._motion
        before = table[register]
        if register is reg.GOAL_POSITION:
            self._move()
        table[register] = value
        if register is reg.TORQUE_ENABLE and value and not before:
            self._heard_ns = self._now_ns
            motion.trajectory, motion.speed = float(motion.position), 0.0
            motion.begin()
        elif register is reg.OPERATING_MODE:
            motion.stop()
        elif register is reg.GOAL_POSITION:
            motion.begin()
        goal = register in _GOALS and table[reg.DRIVE_MODE] & reg.DRIVE_TORQUE_ON_BY_GOAL
        if goal and not self.torque_on and not table[reg.HARDWARE_ERROR] & table[reg.SHUTDOWN]:
            table[reg.TORQUE_ENABLE] = 1

    def _measure(self) -> None:
        table, motion = self.table, self._motion
        speed = motion.velocity / reg.VELOCITY_UNIT
        effort = motion.torque / motion.stall_torque
        position = motion.position
        table[reg.REALTIME_TICK] = self._now_ns // 1_000_000 % 32768
        table[reg.MOVING] = int(abs(speed) > table[reg.MOVING_THRESHOLD])
        table[reg.PRESENT_PWM] = round(885 * max(-1.0, min(1.0, effort)))
        if reg.CURRENT_LIMIT.address in table.registers:
            current = motion.torque / self.model.torque_constant / self.model.current_unit
        else:
            current = 1000 * effort  # present load, 0.1 %
        table[reg.PRESENT_CURRENT] = round(current)
        table[reg.PRESENT_VELOCITY] = round(speed)
        table[reg.PRESENT_POSITION] = position
        table[reg.VELOCITY_TRAJECTORY] = round(motion.speed * (1 / 4096 * 60) / 0.229)
        table[reg.POSITION_TRAJECTORY] = round(motion.trajectory)
        table[reg.PRESENT_VOLTAGE] = round(_SUPPLY_V / reg.VOLTAGE_UNIT)
        table[reg.PRESENT_TEMPERATURE] = min(255, round(self._temperature))
        status = 0
        if table[reg.OPERATING_MODE] in POSITION_MODES:
            off = abs(position - motion.trajectory)
            status |= 0x01 if abs(position - table[reg.GOAL_POSITION]) <= _IN_POSITION else 0
            status |= 0x02 if motion.ongoing else 0
            status |= 0x08 if self.torque_on and off > _FOLLOWING_ERROR_TICKS else 0
            status |= 0x30 if table[reg.PROFILE_VELOCITY] and table[reg.PROFILE_ACCELERATION] else 0
            status |= 0x10 if table[reg.PROFILE_VELOCITY] and not table[reg.PROFILE_ACCELERATION] else 0
        table[reg.MOVING_STATUS] = status

    def listens_to(self, ident: int) -> bool:
        """Whether a packet for `ident` is for this motor; one to its secondary id is obeyed, not answered."""
        secondary = self.table[reg.SECONDARY_ID]
        return ident == self.id or (secondary <= ID_MAX and ident == secondary)


def _address(params: bytes) -> tuple[int, bytes]:
    return params[0] | params[1] << 8, params[2:]
