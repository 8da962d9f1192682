"""What to do about what is known: a pure function of flags and time. The worst action wins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from safety.action import Action
from safety.watch import Clear, Flag


class Cause(StrEnum):
    """Why an action is needed, besides the flags of watches."""

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
    TORQUE_OFF_FAILED = "torque_off_failed"
    """A bus has not taken its torque-off."""
    STOP_OVERDUE = "stop_overdue"
    """The loop has not finished a stop in time."""
    LOOP_FAULT = "loop_fault"
    """The loop reports a fault."""
    STOP_REQUEST = "stop_request"
    """Somebody asked for a controlled stop."""


_OUT_OF_ORDER = {
    Cause.ESTOP_CHANNELS: Action.TORQUE_OFF,
    Cause.HEARTBEAT: Action.TORQUE_OFF,
    Cause.WATCHDOG: Action.TORQUE_OFF,
    # What takes the power away may not have obeyed: hardware has to.
    Cause.DRIVE_ENABLE: Action.POWER_CUT,
    Cause.FEEDBACK: Action.POWER_CUT,
    Cause.TORQUE_OFF_FAILED: Action.POWER_CUT,
}


class Reason(NamedTuple):
    """Why something must be done."""

    cause: str
    """A `Cause`, or the name of a watch's flag."""
    action: Action
    """What it calls for now."""
    clear: Clear
    """GONE: it goes with its cause; otherwise it is latched."""
    bars_arming: bool


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
    """A silence longer than this is a stall, ns."""
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
    """Since when a controlled stop has been under way, ns; None: it has not."""
    stop_timeout_ns: int
    """The longest that such a stop may take, ns."""
    lost: frozenset[str]
    """What does not obey or cannot be believed: those of `_OUT_OF_ORDER`."""
    hold_after_stop: bool = False
    """Some joint must keep its torque after a controlled stop."""
    past_silence_ns: int = 0
    """The longest time between two beats of which the later has come since the last decision, ns."""
    flags: tuple[Flag, ...] = ()
    """What the watches say now."""
    latched: Mapping[str, Reason] = field(default_factory=dict)
    """By cause."""

    def silence_ns(self, now_ns: int) -> int:
        """The longest time without a beat since the last decision, ns."""
        return 0 if self.beat_ns is None else max(self.past_silence_ns, now_ns - self.beat_ns)

    @property
    def powered(self) -> bool:
        """Motors may have torque, as far as anybody says so."""
        return self.armed or self.gate_open or self.energised


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and why."""

    action: Action
    reasons: tuple[Reason, ...]
    """What stands now."""
    latched: Mapping[str, Reason]
    """What lasts until a reset, by cause."""
    stopping: bool
    """The action is a controlled stop, and the robot has not come to its end yet."""

    @property
    def blocking(self) -> list[str]:
        """Latched causes that must not be reset: they still stand, or only a start of the daemon clears them."""
        standing = {reason.cause for reason in self.reasons}
        return [c for c, reason in self.latched.items() if c in standing or reason.clear is Clear.NEVER]

    @property
    def stop_latched(self) -> bool:
        """Whether a stop is latched, of any category."""
        return any(reason.action >= Action.HOLD for reason in self.latched.values())


def decide(inputs: Inputs, now_ns: int) -> Decision:
    """The worst action that the inputs call for at `now_ns` (CLOCK_MONOTONIC, ns), and all the reasons."""
    reasons = [_in_force(cause, action, clear, inputs) for cause, action, clear in _standing(inputs, now_ns)]
    latched = _latch(inputs.latched, reasons)
    action = max((reason.action for reason in [*reasons, *latched.values()]), default=Action.NONE)
    stopping = Action.HOLD <= action <= Action.CONTROLLED_STOP and not _ended(action, inputs)
    since_ns = inputs.stop_since_ns
    if stopping and since_ns is not None and now_ns - since_ns > inputs.stop_timeout_ns:
        reasons.append(Reason(Cause.STOP_OVERDUE, Action.TORQUE_OFF, Clear.RESET, bars_arming=True))
        return Decision(Action.TORQUE_OFF, tuple(reasons), _latch(latched, reasons), stopping=False)
    return Decision(action, tuple(reasons), latched, stopping)


def _standing(inputs: Inputs, now_ns: int) -> Iterable[tuple[str, Action, Clear]]:
    """What stands, what it calls for while motors may have power, and what takes it away."""
    if inputs.estop_pressed:
        yield Cause.ESTOP, Action.TORQUE_OFF, Clear.RESET
    if inputs.estop_requested:
        yield Cause.ESTOP_REQUEST, Action.TORQUE_OFF, Clear.RESET
    for cause, action in _OUT_OF_ORDER.items():
        if cause in inputs.lost:
            yield cause, action, Clear.RESET
    if inputs.silence_ns(now_ns) > inputs.stall_ns:
        # A loop that stalls without power is nothing to latch.
        yield Cause.STALL, Action.TORQUE_OFF if inputs.powered else Action.CONTROLLED_STOP, Clear.GONE
    if inputs.loop_fault:
        yield Cause.LOOP_FAULT, Action.CONTROLLED_STOP, Clear.GONE
    if inputs.stop_requested and not _ended(_kept(inputs.stop_requested, inputs), inputs):
        yield Cause.STOP_REQUEST, inputs.stop_requested, Clear.GONE
    for flag in inputs.flags:
        yield flag.name, flag.action, flag.clear


def _in_force(cause: str, action: Action, clear: Clear, inputs: Inputs) -> Reason:
    """What it calls for now: without power, anything but torque off is only a warning."""
    bars_arming = action >= Action.HOLD
    if action >= Action.TORQUE_OFF:
        clear = Clear.RESET if clear is Clear.GONE else clear
    elif clear is Clear.NEVER:
        action = _kept(action, inputs)
    elif not inputs.powered:
        action, clear = min(action, Action.WARN), Clear.GONE
    elif _kept(action, inputs) != action:
        action, clear = Action.HOLD, Clear.RESET
    return Reason(cause, action, clear, bars_arming)


def _kept(action: Action, inputs: Inputs) -> Action:
    """A controlled stop of a robot that must not lose its torque ends in holding, of category 2."""
    return Action.HOLD if inputs.hold_after_stop and action is Action.CONTROLLED_STOP else action


def _latch(latched: Mapping[str, Reason], reasons: Iterable[Reason]) -> dict[str, Reason]:
    """What is latched from now on. A latch is only ever raised."""
    found = dict(latched)
    for reason in reasons:
        old = found.get(reason.cause)
        if old is None and reason.clear is not Clear.GONE:
            found[reason.cause] = reason
        elif old is not None:
            clear = Clear.NEVER if Clear.NEVER in (old.clear, reason.clear) else old.clear
            bars_arming = old.bars_arming or reason.bars_arming
            found[reason.cause] = Reason(old.cause, max(old.action, reason.action), clear, bars_arming)
    return found


def _ended(action: Action, inputs: Inputs) -> bool:
    """A stop of category 2 ends in standing still, one of category 1 when there is no power any more."""
    if action is Action.HOLD:
        return inputs.holding or not inputs.gate_open
    return not inputs.powered
