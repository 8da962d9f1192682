"""The modes of the robot and the only ways from one to another."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Mode(IntEnum):
    """What the robot is doing. The numbers are what recordings hold."""

    OFF = 0
    """Motors not connected."""
    STANDBY = 1
    """Connected, torque off."""
    HOLD = 2
    """Energised, standing still."""
    AUTO = 3
    """The policy moves the robot."""
    MANUAL = 4
    """The operator moves the robot."""
    STOPPING = 5
    """Ramping to a stop; then `ModeMachine.after_stop`."""
    ESTOP = 6
    """Stopped at once, torque off; latched until reset."""
    FAULT = 7
    """Stopped because of a fault, torque off; latched until reset."""
    HELD = 8
    """Stopped, standing still with torque on; latched until reset."""
    RETURNING = 9
    """Going home or back by itself, because something has failed; then HOLD."""


ENERGISED: Final = frozenset({Mode.HOLD, Mode.AUTO, Mode.MANUAL, Mode.STOPPING, Mode.HELD, Mode.RETURNING})
LATCHED: Final = frozenset({Mode.ESTOP, Mode.FAULT, Mode.HELD})

_ENDS: Final = {
    (False, False): Mode.HOLD,
    (False, True): Mode.HELD,
    (True, False): Mode.STANDBY,
    (True, True): Mode.FAULT,
}
"""How a controlled stop ends: whether power goes off, whether it is latched."""

_REQUESTS: Final[dict[str, tuple[frozenset[Mode], Mode, str]]] = {
    "connected": (frozenset({Mode.OFF}), Mode.STANDBY, "already connected"),
    "arm": (frozenset({Mode.STANDBY}), Mode.HOLD, "only a robot in STANDBY can be armed"),
    "start": (frozenset({Mode.HOLD, Mode.MANUAL}), Mode.AUTO, "arm the robot first"),
    "move": (frozenset({Mode.HOLD, Mode.MANUAL}), Mode.MANUAL, "arm the robot first; stop the policy first"),
    "reset": (LATCHED - {Mode.HELD}, Mode.STANDBY, "nothing is latched"),
    "release": (frozenset({Mode.HELD}), Mode.HOLD, "only a robot in HELD is released"),
}
"""Request -> (modes it is allowed in, mode it leads to, what to tell otherwise)."""


class ModeError(Exception):
    """A request that the present mode does not allow. Nothing has changed."""


class ModeMachine:
    """The mode in force. Every change goes through one of these methods."""

    def __init__(self) -> None:
        self.after_stop = Mode.HOLD
        """What follows STOPPING: HOLD or HELD (category 2), STANDBY or FAULT (category 1); or RETURNING."""
        self.energised = False
        """Motors may have torque in this mode. A plain attribute: the tick asks for it again and again."""
        self._mode = Mode.OFF

    @property
    def mode(self) -> Mode:
        """The mode in force."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        self.energised = mode in ENERGISED

    def request(self, name: str) -> None:
        """Change the mode as asked (a key of `_REQUESTS`) or raise ModeError."""
        self.mode = self.allowed(name)

    def allowed(self, name: str) -> Mode:
        """The mode that the request would lead to. Raises ModeError when it is not allowed now."""
        sources, target, advice = _REQUESTS[name]
        if self.mode not in sources:
            raise ModeError(f"{name}: not possible in mode {self.mode.name}: {advice}")
        return target

    def stop(self, then: Mode) -> bool:
        """Ramp to a stop, then go to HOLD, HELD, STANDBY or FAULT. Returns whether this has changed anything.

        A stop is only ever raised: power that is to go off goes off, and what is latched stays latched.
        """
        if not self.energised:
            return False
        now = self.after_stop if self.mode == Mode.STOPPING else self.mode
        both = (now, then)
        then = _ENDS[Mode.STANDBY in both or Mode.FAULT in both, Mode.HELD in both or Mode.FAULT in both]
        if then == now:
            return False
        self.mode, self.after_stop = Mode.STOPPING, then
        return True

    def go_back(self) -> None:
        """From AUTO: ramp to a stop, then RETURNING. Any stop that comes meanwhile goes before."""
        if self.mode == Mode.AUTO:
            self.mode, self.after_stop = Mode.STOPPING, Mode.RETURNING

    def at_rest(self) -> Mode:
        """The ramp, or the way back, has ended. Returns the mode that follows."""
        if self.mode == Mode.STOPPING:
            self.mode = self.after_stop
        elif self.mode == Mode.RETURNING:
            self.mode = Mode.HOLD
        return self.mode

    def cut(self, then: Mode) -> None:
        """Without power, and latched: ESTOP or FAULT at once, from every mode but OFF. ESTOP outranks FAULT."""
        if self.mode not in (Mode.OFF, Mode.ESTOP):
            self.mode = then

    def closed(self) -> None:
        """The motors are disconnected."""
        self.mode = Mode.OFF
