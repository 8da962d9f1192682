"""What can be asked of the robot, from nothing to taking its power."""

from __future__ import annotations

from enum import IntEnum


class Action(IntEnum):
    """What the robot must do, ordered: a greater action includes the smaller ones. Categories: IEC 60204-1."""

    NONE = 0
    WARN = 1
    """Say so."""
    SLOW = 2
    """Go on with a lower top speed. The loop does it."""
    HOLD = 3
    """Controlled stop, power stays (category 2, SS2 of IEC 61800-5-2). The loop does it."""
    CONTROLLED_STOP = 4
    """Controlled stop, then power off (category 1, SS1). The loop does it."""
    TORQUE_OFF = 5
    """Power off at once (category 0, STO). The supervisor does it; latched until reset."""
    POWER_CUT = 6
    """The same, where what takes the power away may not obey: the heartbeat line rests as well, so that the relay
    behind it cuts power."""

    @property
    def category(self) -> int | None:
        """Stop category, None for an action that is no stop."""
        return None if self < Action.HOLD else max(0, Action.TORQUE_OFF - self)
