"""What every tick reads from every motor: one block of indirect registers, and how a reply tells its request.

Indirect registers put scattered ones side by side. The block holds, besides the measurements, whether torque
is on, the hardware error and the bus watchdog. So every reply proves that the motor still does what it was
told: after a brown-out it has forgotten its watchdog and the block itself, and says so in its next answer.

Answers carry no number, and one that comes a cycle late looks like one to the newer request. Therefore the
length of the block cycles through three values from request to request, and the length of a reply tells which
request it answers.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise

from drivers.motors.dynamixel import frames
from drivers.motors.dynamixel.models import Model
from drivers.motors.dynamixel.table import (
    BUS_WATCHDOG,
    HARDWARE_ERROR,
    MOVING,
    MOVING_STATUS,
    PRESENT_CURRENT,
    PRESENT_POSITION,
    PRESENT_TEMPERATURE,
    PRESENT_VELOCITY,
    PRESENT_VOLTAGE,
    REALTIME_TICK,
    TORQUE_ENABLE,
    Register,
)

VALUES = struct.Struct("<BBBhiiHB")
"""Torque enable, hardware error, bus watchdog, current, velocity, position, voltage, temperature."""
LENGTHS = (VALUES.size, VALUES.size + 2, VALUES.size + 4)
"""Bytes of the block; even, so that the CRC can be taken two bytes at a time."""
LENGTH_MAX = max(LENGTHS)
TURNS = {length: turn for turn, length in enumerate(LENGTHS)}

_REGISTERS: tuple[Register, ...] = (
    TORQUE_ENABLE,
    HARDWARE_ERROR,
    BUS_WATCHDOG,
    PRESENT_CURRENT,
    PRESENT_VELOCITY,
    PRESENT_POSITION,
    PRESENT_VOLTAGE,
    PRESENT_TEMPERATURE,
    # Only the length of these counts; nobody looks at them.
    REALTIME_TICK,
    MOVING,
    MOVING_STATUS,
)
MAP = b"".join(
    struct.pack("<H", register.address + byte) for register in _REGISTERS for byte in range(register.size)
)
"""What the indirect address registers must hold."""


def address(model: Model) -> int:
    """Where the block begins on this model."""
    return model.indirect[0][1]


def request(ids: Sequence[int], addresses: Sequence[int], length: int, fast: bool) -> bytes:
    """Ask motors for `length` bytes of their blocks; a bulk read where the blocks are not at the same place."""
    if all(one == other for one, other in pairwise(addresses)):
        return frames.sync_read(ids, addresses[0], length, fast)
    return frames.bulk_read([(i, start, length) for i, start in zip(ids, addresses, strict=True)], fast)


def fast_lengths(count: int) -> dict[int, int]:
    """LENGTH of a fast reply of `count` motors -> bytes of a slot, for each length of the block."""
    return {1 + count * (length + 4): length + 4 for length in LENGTHS}
