"""A joint's fault code: hardware error status (register 70) in the low byte, what the driver found above it."""

from __future__ import annotations

from drivers.motors.dynamixel.frames import ALERT
from drivers.motors.dynamixel.table import HARDWARE_ERRORS

TORQUE_LOST = 0x100
"""Torque is off although the bus has switched it on."""
WATCHDOG = 0x200
"""The motor's bus watchdog has tripped: it holds where it stopped and takes no goals."""
RESTARTED = 0x400
"""The motor has restarted and forgotten its set-up; its readings are not used."""

_WORDS = HARDWARE_ERRORS | {
    TORQUE_LOST: "torque is off although it was switched on",
    WATCHDOG: "bus watchdog tripped: the motor heard nothing for too long and has stopped",
    RESTARTED: "restarted: its power dipped or failed, torque is off",
}


def explain(fault: int) -> str:
    """The code in words."""
    if not fault:
        return "no fault"
    words = [text for bit, text in _WORDS.items() if fault & bit]
    if not words and fault & ALERT:
        words = ["hardware error that the motor does not name"]
    return ", ".join(words) or f"unknown fault 0x{fault:x}"
