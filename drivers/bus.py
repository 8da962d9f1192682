"""What every motor bus does, whatever its protocol: the contract between drivers and everything above."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from drivers.joint import Joint, Name, Options
from drivers.state import Floats, Ints, JointState


class BusOptions(Options):
    """Options that every bus has; a driver's own options extend them."""

    name: Name
    """Name of the bus; joints refer to it."""
    type: str
    """Driver of the bus: `dynamixel`, `damiao`, or a name that a package offers under `reflexd.motors`."""
    run_without_watchdog: bool = False
    """Energise motors of this bus that have no watchdog of their own: when the daemon is frozen, only the relay
    behind drive-enable stops them. Dynamixel and Damiao motors have one, and are refused when it does not work."""


@dataclass(slots=True)
class BusCounters:
    """What happened on a bus since it was opened. Every reply that is not a good one is counted once."""

    sent: int = 0
    """Frames or packets sent."""
    received: int = 0
    """Good replies received."""
    lost: int = 0
    """Requests that a joint had not answered when the next request went out."""
    late: int = 0
    """Replies that came after the next request had gone out."""
    corrupt: int = 0
    """Packets thrown away for a wrong checksum, length or content."""
    foreign: int = 0
    """Good packets that nobody asked for: an unknown id, a wrong kind."""
    unsent: int = 0
    """Frames that the port did not take (queue full, interface down)."""


@dataclass(frozen=True, slots=True)
class CycleTime:
    """How long one cycle (command all joints, read all joints) keeps a bus busy, worst case, and why."""

    seconds: float
    explanation: str
    """The arithmetic in words, for the error text of a rate that a bus cannot carry."""


class Bus(Protocol):
    """The motors on one wire.

    `read`, `poll` and `command` run inside the tick: they never wait, never raise and never allocate without
    bound. A cycle is pipelined: what one tick asks for is read by the next one. The async methods are for
    starting, arming and stopping; while one of them runs, `busy` is true and the tick leaves the bus alone.
    `index` gives each of the bus's joints its place in the robot's arrays.
    """

    Options: ClassVar[type[BusOptions]]

    name: str
    joints: Sequence[Joint]
    index: Ints
    counters: BusCounters
    warnings: list[str]
    """What the last `connect`, `enable` or `clear_faults` found odd or had to put right, one sentence each."""
    busy: bool
    torque_part: float
    """The part (above 0, at most 1) of its torque that `enable` lets a motor make; 1 until somebody sets it.
    Motors in MIT mode do not know it: the envelope keeps theirs low."""

    def __init__(self, options: BusOptions, joints: Sequence[Joint], index: Ints, state: JointState) -> None:
        """Keep the arguments; nothing is opened before `connect`."""

    @property
    def unwatched(self) -> list[str]:
        """Joints whose motor's own watchdog is not known to be armed: it was not read back, or there is none."""

    @staticmethod
    def cycle_time(options: BusOptions, joints: Sequence[Joint]) -> CycleTime:
        """Worst-case time of one cycle on the wire; used by the config check."""

    @staticmethod
    def problems(options: BusOptions, joints: Sequence[Joint]) -> list[str]:
        """What is wrong with these joints on this bus (unknown model, id out of range, missing kp ...)."""

    async def connect(self) -> None:
        """Open the port, find every motor, compare it with the config, set it up, arm its own watchdog.

        Never energises a motor. Raises BusError that lists every problem of every joint at once.
        """

    def read(self, now_ns: int) -> None:
        """Take everything that has arrived into the state. Nothing arrived: the joints grow older."""

    def poll(self, now_ns: int) -> None:
        """Ask every motor for its state without commanding it (motors off)."""

    def command(self, now_ns: int, position: Floats) -> None:
        """Send every joint its goal angle and ask for its state.

        `position`: goal angles of the whole robot, rad, shape (robot joints,); the bus takes its own.
        """

    async def enable(self) -> None:
        """Energise all motors of the bus, holding where they stand, and confirm it.

        Raises BusError, with all motors off again, when one does not confirm.
        """

    async def disable(self) -> None:
        """Torque off on all motors, confirmed. Raises BusError naming those that did not confirm."""

    async def clear_faults(self) -> None:
        """Clear the motors' latched errors (torque stays off) and set them up again. Raises BusError."""

    def torque_off(self) -> None:
        """Send torque-off to all motors at once, without waiting for an answer.

        Callable from any thread at any moment, even while the loop is stuck elsewhere; never raises.
        """

    def explain(self, fault: int) -> str:
        """The motor's error code in words."""

    async def close(self) -> None:
        """Torque off, then close the port. Never raises."""
