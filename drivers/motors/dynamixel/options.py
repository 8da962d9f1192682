"""What the config says about a Dynamixel bus, and what can be checked before anything is opened."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import Field, field_validator

from drivers.bus import BusOptions, CycleTime
from drivers.joint import Joint
from drivers.motors.dynamixel import block, frames, setup
from drivers.motors.dynamixel.models import MODELS, unknown
from drivers.motors.dynamixel.table import BAUD_CODES, TURN, WATCHDOG_UNIT

_USB_LATENCY_S = 1e-3
_ON_BOARD = re.compile(r"/(ttyS|ttyAMA|ttyTHS|pts/)\d+$")


class DynamixelOptions(BusOptions):
    """Options of a Dynamixel bus."""

    port: str
    """Serial port of the bus, for example `/dev/serial/by-id/usb-FTDI_...`."""
    baud: int = 1_000_000
    """Speed of the bus, bit/s; all its motors must be set to it."""
    watchdog: float = Field(default=0.1, ge=0.02, le=2.54)
    """A motor stops when it has heard nothing for this time, s; a multiple of 0.02, better not below 0.06."""

    @field_validator("baud")
    @classmethod
    def _motors_know_the_baud(cls, baud: int) -> int:
        if baud not in BAUD_CODES:
            known = ", ".join(str(one) for one in BAUD_CODES)
            raise ValueError(f"the motors do not know {baud} baud; expected one of {known}")
        return baud

    @field_validator("watchdog")
    @classmethod
    def _watchdog_is_a_multiple(cls, seconds: float) -> float:
        if abs(seconds / WATCHDOG_UNIT - round(seconds / WATCHDOG_UNIT)) > 1e-6:
            raise ValueError(
                f"{seconds} s is not a multiple of {WATCHDOG_UNIT} s, the unit of the motors' watchdog"
            )
        return seconds


def cycle_time(options: DynamixelOptions, joints: Sequence[Joint]) -> CycleTime:
    """Worst-case time of one cycle on the wire: goals and request out, one status packet back from each motor.

    Fast Sync Read is quicker, but the bus falls back to plain Sync Read when it has to.
    """
    count = len(joints)
    blocks = {block.address(MODELS[joint.model]) for joint in joints if joint.model in MODELS}
    out = 14 + 5 * count + (14 + count if len(blocks) <= 1 else 10 + 5 * count)
    back = (11 + block.LENGTH_MAX) * count
    latency = 0.0 if _ON_BOARD.search(options.port) else _USB_LATENCY_S
    seconds = (out + back) * 10 / options.baud + latency
    adapter = f" + {latency * 1e3:g} ms latency of a USB adapter" if latency else ""
    return CycleTime(
        seconds,
        f"{count} motors: {out} bytes out + {back} bytes back, 10 bits each, at {options.baud} bit/s{adapter} "
        f"= {seconds * 1e3:.2f} ms",
    )


def problems(joints: Sequence[Joint]) -> list[str]:
    """What is wrong with these joints on a Dynamixel bus."""
    found = []
    for joint in joints:
        if joint.model not in MODELS:
            found.append(f"joint {joint.name}: {unknown(joint.model)}")
        if joint.id > frames.ID_MAX:
            found.append(f"joint {joint.name}: id {joint.id}; ids on this bus go up to {frames.ID_MAX}")
        # Behind a gear the joint may need several turns of the servo; without one it is a mistake.
        if joint.reduction == 1 and not setup.fits_one_turn(joint):
            low, high = setup.ticks(joint)
            found.append(
                f"joint {joint.name}: its range is {low} to {high} pulses of the servo, expected 0 to {TURN - 1}; "
                "correct position_min, position_max (rad) or offset"
            )
    return found
