"""The frames of Damiao motors: pure functions of bytes and numbers, for both ends of the wire.

Source of the layout: the maker's protocol as spoken by cmjang/DM_Control_Python, enactic/openarm_can and
jia-xie/python-damiao-driver. A frame here is the eight data bytes; the CAN id is named with each.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from drivers.motors.damiao.limits import KD_MAX, KP_MAX, Limits

PARAMETER_ID = 0x7FF
"""CAN id on which every motor listens for parameter requests."""

ENABLE = b"\xff" * 7 + b"\xfc"
DISABLE = b"\xff" * 7 + b"\xfd"
SET_ZERO = b"\xff" * 7 + b"\xfe"
CLEAR_ERROR = b"\xff" * 7 + b"\xfb"

MODE_MIT, MODE_POS_VEL, MODE_VEL, MODE_POS_FORCE = 1, 2, 3, 4
"""Values of CTRL_MODE. The commands of mode m go to CAN id `(m - 1) * 0x100 + ESC_ID`."""

READ, WRITE, SAVE, REFRESH = 0x33, 0x55, 0xAA, 0xCC
"""What a parameter request asks for."""

MST_ID, ESC_ID, TIMEOUT, CTRL_MODE = 7, 8, 9, 10
SW_VER = 14
PMAX, VMAX, TMAX = 21, 22, 23
INTEGERS = frozenset({7, 8, 9, 10, 13, 14, 15, 16, 35, 36})
"""Parameters whose value is a u32; all others are single-precision numbers."""

TIMEOUT_UNIT_S = 50e-6
"""Unit of the parameter TIMEOUT."""

DISABLED, ENABLED = 0x0, 0x1
FAULTS = {
    0x8: "over-voltage",
    0x9: "under-voltage",
    0xA: "over-current",
    0xB: "the power stage is too hot",
    0xC: "the rotor is too hot",
    0xD: "the motor got no frame within its watchdog's time",
    0xE: "overload",
}
"""Status nibbles that mean: switched off by itself until the error is cleared."""

POSITION_STEPS = (1 << 16) - 1
STEPS = (1 << 12) - 1
"""Full scale of all numbers but the position."""
ROUNDING = 1e-6
"""Added before rounding down, in steps: what was decoded must encode to the same number again."""


def encode(value: float, low: float, high: float, steps: int) -> int:
    """A number as a fraction of its range: floor((value - low) / (high - low) * steps) after clamping.

    Raises ValueError for NaN.
    """
    return int((min(max(value, low), high) - low) / (high - low) * steps + ROUNDING)


def decode(raw: int, low: float, high: float, steps: int) -> float:
    """The number that `raw` stands for."""
    return raw * (high - low) / steps + low


@dataclass(frozen=True, slots=True)
class Mit:
    """Command in MIT mode, to ESC_ID: torque = kp (position - q) + kd (velocity - dq) + torque.

    Packing clamps. All values at full scale make a valid frame that equals SET_ZERO or ENABLE but for a few
    bits: whoever drives a motor keeps `position` below full scale.
    """

    position: float = 0.0
    """rad."""
    velocity: float = 0.0
    """rad/s."""
    kp: float = 0.0
    """Nm/rad, 0 to 500."""
    kd: float = 0.0
    """Nms/rad, 0 to 5."""
    torque: float = 0.0
    """Nm."""

    def pack(self, limits: Limits) -> bytes:
        """The eight data bytes. Position 16 bits, then velocity, kp, kd, torque 12 bits each, high bits first."""
        p = encode(self.position, -limits.position, limits.position, POSITION_STEPS)
        v = encode(self.velocity, -limits.velocity, limits.velocity, STEPS)
        kp = encode(self.kp, 0.0, KP_MAX, STEPS)
        kd = encode(self.kd, 0.0, KD_MAX, STEPS)
        t = encode(self.torque, -limits.torque, limits.torque, STEPS)
        return (p << 48 | v << 36 | kp << 24 | kd << 12 | t).to_bytes(8, "big")

    @classmethod
    def parse(cls, data: bytes, limits: Limits) -> Mit:
        """The command in eight data bytes."""
        word = int.from_bytes(data, "big")
        return cls(
            decode(word >> 48, -limits.position, limits.position, POSITION_STEPS),
            decode(word >> 36 & 0xFFF, -limits.velocity, limits.velocity, STEPS),
            decode(word >> 24 & 0xFFF, 0.0, KP_MAX, STEPS),
            decode(word >> 12 & 0xFFF, 0.0, KD_MAX, STEPS),
            decode(word & 0xFFF, -limits.torque, limits.torque, STEPS),
        )


@dataclass(frozen=True, slots=True)
class Feedback:
    """The answer to every command, from MST_ID."""

    status: int
    """DISABLED, ENABLED or one of FAULTS."""
    motor: int
    """Low four bits of ESC_ID."""
    position: float
    """rad."""
    velocity: float
    """rad/s."""
    torque: float
    """Nm."""
    mosfet: int
    """Temperature of the power stage, °C."""
    rotor: int
    """Temperature of the rotor, °C."""

    def pack(self, limits: Limits) -> bytes:
        """The eight data bytes."""
        p = encode(self.position, -limits.position, limits.position, POSITION_STEPS)
        v = encode(self.velocity, -limits.velocity, limits.velocity, STEPS)
        t = encode(self.torque, -limits.torque, limits.torque, STEPS)
        head = self.status << 4 | (self.motor & 0xF)
        word = head << 56 | p << 40 | v << 28 | t << 16 | self.mosfet << 8 | self.rotor
        return word.to_bytes(8, "big")

    @classmethod
    def parse(cls, data: bytes, limits: Limits) -> Feedback:
        """Raises ValueError when there are not eight bytes."""
        if len(data) != 8:
            raise ValueError(f"feedback has 8 bytes, found {len(data)}")
        word = int.from_bytes(data, "big")
        return cls(
            word >> 60,
            word >> 56 & 0xF,
            decode(word >> 40 & 0xFFFF, -limits.position, limits.position, POSITION_STEPS),
            decode(word >> 28 & 0xFFF, -limits.velocity, limits.velocity, STEPS),
            decode(word >> 16 & 0xFFF, -limits.torque, limits.torque, STEPS),
            word >> 8 & 0xFF,
            word & 0xFF,
        )


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter request (to PARAMETER_ID) or its reply (from MST_ID); both look the same."""

    motor: int
    """ESC_ID."""
    command: int
    """READ, WRITE, SAVE or REFRESH. REFRESH is answered by Feedback; a good answer to SAVE is not known."""
    number: int = 0
    """Which parameter."""
    value: float = 0
    """Ignored in a read request."""

    def pack(self) -> bytes:
        """The eight data bytes."""
        head = struct.pack("<HBB", self.motor, self.command, self.number)
        if self.number in INTEGERS:
            return head + struct.pack("<I", int(self.value))
        return head + struct.pack("<f", self.value)

    @classmethod
    def parse(cls, data: bytes) -> Parameter:
        """Raises ValueError when there are not eight bytes."""
        if len(data) != 8:
            raise ValueError(f"a parameter frame has 8 bytes, found {len(data)}")
        motor, command, number = struct.unpack_from("<HBB", data)
        (value,) = struct.unpack_from("<I" if number in INTEGERS else "<f", data, 4)
        return cls(motor, command, number, value)


def is_parameter(data: bytes, motor: int) -> bool:
    """Whether a frame from the motor's MST_ID looks like a parameter reply.

    It could be feedback too: that of a motor at the low end of its position range that moves backwards at more
    than a third of its full speed. Meant for motors that stand, and for those that are known to be energised.
    """
    return len(data) == 8 and data[0] | data[1] << 8 == motor and data[2] in (READ, WRITE) and data[3] <= 81


def refresh(motor: int) -> bytes:
    """Ask for Feedback without a command, to PARAMETER_ID."""
    return struct.pack("<HB5x", motor, REFRESH)


@dataclass(frozen=True, slots=True)
class PosVel:
    """Command in POS_VEL mode, to 0x100 + ESC_ID."""

    position: float
    """rad."""
    velocity: float
    """Highest speed, rad/s."""

    def pack(self) -> bytes:
        """The eight data bytes."""
        return struct.pack("<ff", self.position, self.velocity)

    @classmethod
    def parse(cls, data: bytes) -> PosVel:
        """The command in eight data bytes."""
        return cls(*struct.unpack("<ff", data))


@dataclass(frozen=True, slots=True)
class Vel:
    """Command in VEL mode, to 0x200 + ESC_ID."""

    velocity: float
    """rad/s."""

    def pack(self) -> bytes:
        """The four data bytes."""
        return struct.pack("<f", self.velocity)

    @classmethod
    def parse(cls, data: bytes) -> Vel:
        """The command in four data bytes; some hosts send eight."""
        return cls(*struct.unpack_from("<f", data))


@dataclass(frozen=True, slots=True)
class PosForce:
    """Command in POS_FORCE mode, to 0x300 + ESC_ID."""

    position: float
    """rad."""
    velocity: float
    """Highest speed, rad/s, 0 to 100."""
    current: float
    """Highest current as a fraction of the motor's own limit, 0 to 1."""

    def pack(self) -> bytes:
        """The eight data bytes."""
        return struct.pack(
            "<fHH",
            self.position,
            encode(self.velocity, 0.0, 100.0, 10_000),
            encode(self.current, 0.0, 1.0, 10_000),
        )

    @classmethod
    def parse(cls, data: bytes) -> PosForce:
        """The command in eight data bytes."""
        position, velocity, current = struct.unpack("<fHH", data)
        return cls(position, min(velocity / 100, 100.0), min(current / 10_000, 1.0))
