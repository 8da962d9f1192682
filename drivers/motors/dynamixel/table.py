"""Control table of the Dynamixel X series: registers, units, what their bits mean.

Source: the ROBOTIS e-manual, control tables of the X series; defaults are those of the XM430-W350.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

POSITION_UNIT = 2 * math.pi / 4096
"""rad per pulse."""
VELOCITY_UNIT = 0.229 * 2 * math.pi / 60
"""rad/s per count (0.229 rev/min)."""
VOLTAGE_UNIT = 0.1
"""V per count."""
WATCHDOG_UNIT = 0.02
"""s per count of the bus watchdog."""
RETURN_DELAY_UNIT = 2e-6
"""s per count of the return delay time."""
ZERO_TICK = 2048
"""Pulse at motor angle 0, the middle of the turn."""
TURN = 4096
"""Pulses per turn."""
EXTENDED_MAX = 1_048_575
"""Largest goal position, pulses either way, in the extended position mode (256 turns)."""

BAUD_CODES = {
    9_600: 0,
    57_600: 1,
    115_200: 2,
    1_000_000: 3,
    2_000_000: 4,
    3_000_000: 5,
    4_000_000: 6,
    4_500_000: 7,
}
MODE_CURRENT, MODE_VELOCITY, MODE_POSITION, MODE_EXTENDED, MODE_CURRENT_POSITION, MODE_PWM = 0, 1, 3, 4, 5, 16

DRIVE_REVERSE = 0x01
DRIVE_SLAVE = 0x02
DRIVE_TIME_PROFILE = 0x04
DRIVE_TORQUE_ON_BY_GOAL = 0x08
STARTUP_TORQUE_ON = 0x01

ERROR_VOLTAGE = 0x01
ERROR_OVERHEATING = 0x04
ERROR_ENCODER = 0x08
ERROR_SHOCK = 0x10
ERROR_OVERLOAD = 0x20
HARDWARE_ERRORS = {
    ERROR_VOLTAGE: "input voltage out of range",
    ERROR_OVERHEATING: "overheating",
    ERROR_ENCODER: "encoder failure",
    ERROR_SHOCK: "electrical shock or too little power",
    ERROR_OVERLOAD: "overload",
}
WATCHDOG_FIRMWARE = 38
"""First firmware with the bus watchdog and the drive mode register."""
WATCHDOG_TRIPPED = 0xFF
"""What the bus watchdog register reads after it has tripped (-1)."""


@dataclass(frozen=True, slots=True)
class Register:
    """One entry of the control table; addresses below 64 are EEPROM, locked while torque is on."""

    name: str
    address: int
    size: int
    writable: bool = True
    default: int = 0
    low: int = 0
    high: int = 0
    """Values that may be written, inclusive; other registers may limit them further."""

    @property
    def signed(self) -> bool:
        """Whether the value is two's complement."""
        return self.low < 0

    def pack(self, value: int) -> bytes:
        """A value as the bytes of this register."""
        return value.to_bytes(self.size, "little", signed=value < 0)

    def unpack(self, data: bytes | bytearray) -> int:
        """The value in the bytes of this register."""
        return int.from_bytes(data[: self.size], "little", signed=self.signed)


def _read_only(name: str, address: int, size: int, signed: bool = False) -> Register:
    return Register(name, address, size, writable=False, low=-1 if signed else 0)


_INT16, _INT32 = 2**15 - 1, 2**31 - 1

MODEL_NUMBER = _read_only("model number", 0, 2)
MODEL_INFORMATION = _read_only("model information", 2, 4)
FIRMWARE = _read_only("firmware version", 6, 1)
ID = Register("id", 7, 1, default=1, high=252)
BAUD_RATE = Register("baud rate", 8, 1, default=1, high=7)
RETURN_DELAY = Register("return delay time", 9, 1, default=250, high=254)
DRIVE_MODE = Register("drive mode", 10, 1, high=15)
OPERATING_MODE = Register("operating mode", 11, 1, default=MODE_POSITION, high=16)
SECONDARY_ID = Register("secondary id", 12, 1, default=255, high=255)
PROTOCOL_TYPE = Register("protocol type", 13, 1, default=2, low=1, high=22)
HOMING_OFFSET = Register("homing offset", 20, 4, low=-1_044_479, high=1_044_479)
MOVING_THRESHOLD = Register("moving threshold", 24, 4, default=10, high=1023)
TEMPERATURE_LIMIT = Register("temperature limit", 31, 1, default=80, high=100)
MAX_VOLTAGE_LIMIT = Register("max voltage limit", 32, 2, default=160, low=31, high=300)
MIN_VOLTAGE_LIMIT = Register("min voltage limit", 34, 2, default=95, low=31, high=300)
PWM_LIMIT = Register("PWM limit", 36, 2, default=885, high=885)
CURRENT_LIMIT = Register("current limit", 38, 2, default=1193, high=2047)
VELOCITY_LIMIT = Register("velocity limit", 44, 4, default=350, high=2047)
MAX_POSITION_LIMIT = Register("max position limit", 48, 4, default=4095, high=4095)
MIN_POSITION_LIMIT = Register("min position limit", 52, 4, high=4095)
STARTUP = Register("startup configuration", 60, 1, high=3)
PWM_SLOPE = Register("PWM slope", 62, 1, default=140, low=1, high=255)
SHUTDOWN = Register("shutdown", 63, 1, default=52, high=255)
TORQUE_ENABLE = Register("torque enable", 64, 1, high=1)
LED = Register("LED", 65, 1, high=1)
STATUS_RETURN_LEVEL = Register("status return level", 68, 1, default=2, high=2)
REGISTERED_INSTRUCTION = _read_only("registered instruction", 69, 1)
HARDWARE_ERROR = _read_only("hardware error status", 70, 1)
VELOCITY_I_GAIN = Register("velocity I gain", 76, 2, default=1920, high=16383)
VELOCITY_P_GAIN = Register("velocity P gain", 78, 2, default=100, high=16383)
POSITION_D_GAIN = Register("position D gain", 80, 2, high=16383)
POSITION_I_GAIN = Register("position I gain", 82, 2, high=16383)
POSITION_P_GAIN = Register("position P gain", 84, 2, default=800, high=16383)
FEEDFORWARD_2ND_GAIN = Register("feedforward 2nd gain", 88, 2, high=16383)
FEEDFORWARD_1ST_GAIN = Register("feedforward 1st gain", 90, 2, high=16383)
BUS_WATCHDOG = Register("bus watchdog", 98, 1, high=127)
GOAL_PWM = Register("goal PWM", 100, 2, low=-_INT16, high=_INT16)
GOAL_CURRENT = Register("goal current", 102, 2, low=-_INT16, high=_INT16)
GOAL_VELOCITY = Register("goal velocity", 104, 4, low=-_INT32, high=_INT32)
PROFILE_ACCELERATION = Register("profile acceleration", 108, 4, high=32767)
PROFILE_VELOCITY = Register("profile velocity", 112, 4, high=32767)
GOAL_POSITION = Register("goal position", 116, 4, low=-EXTENDED_MAX, high=EXTENDED_MAX)
REALTIME_TICK = _read_only("realtime tick", 120, 2)
MOVING = _read_only("moving", 122, 1)
MOVING_STATUS = _read_only("moving status", 123, 1)
PRESENT_PWM = _read_only("present PWM", 124, 2, signed=True)
PRESENT_CURRENT = _read_only("present current", 126, 2, signed=True)
PRESENT_VELOCITY = _read_only("present velocity", 128, 4, signed=True)
PRESENT_POSITION = _read_only("present position", 132, 4, signed=True)
VELOCITY_TRAJECTORY = _read_only("velocity trajectory", 136, 4, signed=True)
POSITION_TRAJECTORY = _read_only("position trajectory", 140, 4, signed=True)
PRESENT_VOLTAGE = _read_only("present input voltage", 144, 2)
PRESENT_TEMPERATURE = _read_only("present temperature", 146, 1)
BACKUP_READY = _read_only("backup ready", 147, 1)

EEPROM_END = 64
"""First address of the RAM area."""
INDIRECT_ADDRESS = 168
"""First register that says what indirect data shows; two bytes each, same place on every model."""

X_SERIES: tuple[Register, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Register))
"""All registers but the indirect ones, in the order of their addresses. Not every model has every one."""
