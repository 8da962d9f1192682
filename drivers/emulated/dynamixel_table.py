"""The control table of one emulated Dynamixel: what is where, what may be written, what indirect data show."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise

from drivers.motors.dynamixel.frames import Error
from drivers.motors.dynamixel.models import Model
from drivers.motors.dynamixel.table import (
    CURRENT_LIMIT,
    EEPROM_END,
    FEEDFORWARD_1ST_GAIN,
    FIRMWARE,
    GOAL_CURRENT,
    ID,
    LED,
    MODEL_NUMBER,
    POSITION_D_GAIN,
    POSITION_P_GAIN,
    PROFILE_ACCELERATION,
    PROFILE_VELOCITY,
    PWM_SLOPE,
    TEMPERATURE_LIMIT,
    VELOCITY_I_GAIN,
    VELOCITY_LIMIT,
    X_SERIES,
    Register,
)
from drivers.motors.dynamixel.table import MAX_VOLTAGE_LIMIT as VOLTAGE_MAX
from drivers.motors.dynamixel.table import MIN_VOLTAGE_LIMIT as VOLTAGE_MIN

_DEFAULTS: dict[str, dict[Register, int]] = {
    "XM540-W270": {CURRENT_LIMIT: 2047, VELOCITY_LIMIT: 128},
    "XL430-W250": {
        TEMPERATURE_LIMIT: 72,
        VOLTAGE_MAX: 140,
        VOLTAGE_MIN: 60,
        VELOCITY_LIMIT: 265,
        VELOCITY_I_GAIN: 1000,
        POSITION_D_GAIN: 4000,
        POSITION_P_GAIN: 640,
    },
}
"""Where a model differs from the XM430-W350 (the ROBOTIS e-manual)."""


class ControlTable:
    """Registers by address: values, access rules, indirect addressing."""

    def __init__(self, model: Model, ident: int, firmware: int) -> None:
        self._indirect = model.indirect
        self.registers: dict[int, Register] = {r.address: r for r in X_SERIES if self._has(model, r)}
        for first, data, count in model.indirect:
            last = max(block[1] + block[2] for block in model.indirect) - 1
            for entry in range(count):
                self._add(Register("indirect address", first + 2 * entry, 2, True, data + entry, EEPROM_END, last))
                self._add(Register("indirect data", data + entry, 1, high=255))
        self._at = {r.address + byte: r for r in self.registers.values() for byte in range(r.size)}
        self._bytes = bytearray(max(self._at) + 1)
        self._defaults = _DEFAULTS.get(model.name, {}) | {MODEL_NUMBER: model.number, FIRMWARE: firmware}
        self._identity = ident
        self.reset(0)
        self[ID] = ident

    @staticmethod
    def _has(model: Model, register: Register) -> bool:
        if register in (CURRENT_LIMIT, GOAL_CURRENT):
            return model.current_unit == model.current_unit
        if register is PWM_SLOPE:
            return "330" in model.name
        return register is not LED or not model.name.startswith("XW")

    def _add(self, register: Register) -> None:
        self.registers[register.address] = register

    def __getitem__(self, register: Register) -> int:
        return register.unpack(self._bytes[register.address : register.address + register.size])

    def __setitem__(self, register: Register, value: int) -> None:
        self._bytes[register.address : register.address + register.size] = register.pack(value)

    def default(self, register: Register) -> int:
        """The factory's value."""
        return self._defaults.get(register, register.default)

    def reset(self, start: int, keep: Sequence[Register] = ()) -> None:
        """Factory values for all registers from address `start` on (EEPROM_END: the RAM only)."""
        for address, register in self.registers.items():
            if address >= start and register not in keep:
                self[register] = self.default(register)

    @property
    def backed_up(self) -> dict[Register, int]:
        """Values of all registers that a control table backup stores."""
        return {r: self[r] for r in self.registers.values() if r in BACKED_UP or r.name == "indirect address"}

    def read(self, address: int, length: int) -> tuple[int, bytes]:
        """Error number and bytes. A gap inside the range reads as zeros; a start outside of the table does not."""
        if length == 0 or self._target(address) not in self._at or address + length > len(self._bytes):
            return Error.ACCESS, b""
        return Error.NONE, bytes(self._bytes[self._target(at)] for at in range(address, address + length))

    def resolve(self, address: int, data: bytes) -> tuple[int, list[tuple[Register, int]]]:
        """What a write means: an error number, or the registers and their new values.

        Checks what the table alone knows: existence, access, whole registers, the range of values.
        """
        writes: list[tuple[Register, int]] = []
        targets = [self._target(address + place) for place in range(len(data))]
        place = 0
        while place < len(targets):
            register = self._at.get(targets[place])
            if register is None or not register.writable:
                return Error.ACCESS, []
            span = targets[place : place + register.size]
            whole = span[0] == register.address and len(span) == register.size
            if not whole or any(after - before != 1 for before, after in pairwise(span)):
                return Error.DATA_LENGTH, []
            value = register.unpack(data[place : place + register.size])
            if not register.low <= value <= register.high:
                return Error.DATA_RANGE, []
            writes.append((register, value))
            place += register.size
        return (Error.NONE if writes else Error.DATA_LENGTH), writes

    def _target(self, address: int) -> int:
        """Where an address leads: an indirect data byte stands for the byte that its address register names."""
        for first, data, count in self._indirect:
            if data <= address < data + count:
                at = first + 2 * (address - data)
                target: int = struct.unpack_from("<H", self._bytes, at)[0]
                return target
        return address


BACKED_UP = tuple(
    register
    for register in X_SERIES
    if register.writable
    and (
        register.address < EEPROM_END
        or VELOCITY_I_GAIN.address <= register.address <= FEEDFORWARD_1ST_GAIN.address
        or register in (PROFILE_ACCELERATION, PROFILE_VELOCITY)
    )
)
"""What a control table backup stores, besides the indirect addresses."""
