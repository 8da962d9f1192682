"""The motors' side of one bus: the contract between the wire protocols and the process that runs them."""

from __future__ import annotations

from typing import Literal, Protocol, get_args

FaultKind = Literal["dead", "over_temperature", "brown_out", "overload", "clear"]
FAULT_KINDS: tuple[str, ...] = get_args(FaultKind)


class DeviceBus(Protocol):
    """All motors of one bus as the wire sees them. No I/O and no clock: bytes and time are arguments.

    Time is CLOCK_MONOTONIC, ns, and never goes back from one call to the next, whichever method is called.
    """

    def receive(self, data: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        """Bytes from the wire; answers as (time at which they are sent, bytes).

        Serial: any piece of the stream. CAN: exactly one 16-byte `struct can_frame`, in and out.
        """

    def advance(self, now_ns: int) -> None:
        """Run what happens without the wire: watchdogs, reboots, heat; apply the drive laws to the axes."""

    def fault(self, joint: str, kind: str, value: float = 1.0) -> None:
        """Break the motor of this joint: one of FAULT_KINDS.

        `dead` answers nothing and drives nothing; `brown_out` restarts with RAM lost, torque off and no
        announcement; `over_temperature` and `overload` latch the motor's own error; `clear` repairs all.
        """
