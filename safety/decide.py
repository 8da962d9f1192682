"""What to do about what is known: a pure function of flags and time. The worst action wins."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Action(IntEnum):
    """What the robot must do, ordered: a greater action includes the smaller ones. Categories: IEC 60204-1."""

    NONE = 0
    WARN = 1
    """Say so."""
    SLOW = 2
    """Move more slowly. The loop does it."""
    HOLD = 3
    """Controlled stop, power stays (category 2). The loop does it."""
    CONTROLLED_STOP = 4
    """Controlled stop, then power off (category 1). The loop does it."""
    TORQUE_OFF = 5
    """Power off at once (category 0). The supervisor does it; latched until reset."""
    POWER_CUT = 6
    """Power off at once, drive-enable first (category 0)."""

    @property
    def category(self) -> int | None:
        """Stop category, None for an action that is no stop."""
        return None if self < Action.HOLD else max(0, Action.TORQUE_OFF - self)


class Cause(StrEnum):
    """Why an action is needed."""

    ESTOP = "estop"
    """The e-stop is pressed, or its line is gone."""
    ESTOP_CHANNELS = "estop_channels"
    """The two channels of the e-stop differ."""
    ESTOP_REQUEST = "estop_request"
    """Somebody asked for torque off at once, through software."""
    STALL = "stall"
    """The control loop has not beaten for too long."""
    DRIVE_ENABLE = "drive_enable"
    """The drive-enable line cannot be driven."""
    FEEDBACK = "feedback"
    """The contactor does not follow drive-enable, or its feedback cannot be read."""
    HEARTBEAT = "heartbeat"
    """The heartbeat line cannot be driven."""
    WATCHDOG = "watchdog"
    """The hardware watchdog cannot be fed."""
    STOP_OVERDUE = "stop_overdue"
    """The loop has not finished a stop in time."""
    LOOP_FAULT = "loop_fault"
    """The loop reports a fault."""
    STOP_REQUEST = "stop_request"
    """Somebody asked for a controlled stop."""


_LINES = (Cause.ESTOP_CHANNELS, Cause.DRIVE_ENABLE, Cause.FEEDBACK, Cause.HEARTBEAT, Cause.WATCHDOG)


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that a decision depends on, besides the time."""

    estop_pressed: bool
    """Also when an e-stop is configured and its line cannot be read."""
    estop_requested: bool
    """Torque off at once was asked for since the last decision."""
    beat_ns: int | None
    """Time of the loop's last beat, ns; None while none is expected."""
    stall_ns: int
    """A beat older than this is a stall, ns."""
    armed: bool
    """Drive-enable is meant to be active: motors may have power."""
    gate_open: bool
    energised: bool
    """The loop takes the motors to be energised."""
    holding: bool
    """The loop stands still and follows nothing that could move it."""
    loop_fault: bool
    stop_requested: Action
    """HOLD or CONTROLLED_STOP while somebody asks for it, else NONE."""
    stop_since_ns: int | None
    """Since when the loop has been asked to stop, or has been stopping by itself, ns; None: it has not."""
    stop_timeout_ns: int
    """The longest that such a stop may take, ns."""
    lost: frozenset[Cause]
    """Lines that do not obey or cannot be believed: those of `_LINES`."""
    latched: frozenset[Cause] = frozenset()

    @property
    def powered(self) -> bool:
        """Motors may have torque, as far as anybody says so."""
        return self.armed or self.gate_open or self.energised


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and why."""

    action: Action
    reasons: tuple[tuple[Cause, Action], ...]
    """What stands now, and the action that it calls for."""
    latched: frozenset[Cause]
    """Causes of torque off that last until a reset; while there is one, the action is TORQUE_OFF."""

    @property
    def blocking(self) -> list[Cause]:
        """Latched causes that still stand: none of them may be reset."""
        return [cause for cause, _ in self.reasons if cause in self.latched]


def decide(inputs: Inputs, now_ns: int) -> Decision:
    """The worst action that the inputs call for at `now_ns` (CLOCK_MONOTONIC, ns), and all the reasons."""
    powered = inputs.powered
    reasons: list[tuple[Cause, Action]] = []
    if inputs.estop_pressed:
        reasons.append((Cause.ESTOP, Action.TORQUE_OFF))
    if inputs.estop_requested:
        reasons.append((Cause.ESTOP_REQUEST, Action.TORQUE_OFF))
    reasons += [(cause, Action.TORQUE_OFF) for cause in _LINES if cause in inputs.lost]
    if inputs.beat_ns is not None and now_ns - inputs.beat_ns > inputs.stall_ns:
        reasons.append((Cause.STALL, Action.TORQUE_OFF if powered else Action.WARN))
    if inputs.loop_fault:
        reasons.append((Cause.LOOP_FAULT, Action.CONTROLLED_STOP if powered else Action.WARN))
    if inputs.stop_requested and not _stopped(inputs):
        reasons.append((Cause.STOP_REQUEST, inputs.stop_requested))
    stopping = any(Action.HOLD <= action <= Action.CONTROLLED_STOP for _, action in reasons)
    since_ns = inputs.stop_since_ns
    if stopping and since_ns is not None and now_ns - since_ns > inputs.stop_timeout_ns:
        reasons.append((Cause.STOP_OVERDUE, Action.TORQUE_OFF))

    latched = inputs.latched.union(cause for cause, action in reasons if action is Action.TORQUE_OFF)
    if latched:
        return Decision(Action.TORQUE_OFF, tuple(reasons), latched)
    return Decision(max((action for _, action in reasons), default=Action.NONE), tuple(reasons), latched)


def _stopped(inputs: Inputs) -> bool:
    """A stop of category 2 ends in standing still, one of category 1 when there is no power any more."""
    if inputs.stop_requested is Action.HOLD:
        return inputs.holding or not inputs.gate_open
    return not inputs.powered
