"""The interlock: reads what is to be known, decides, and acts on drive-enable, gate and torque.

It has no thread and takes the time as an argument: everything happens in `step`. One thread calls all methods;
others may read the public attributes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from drivers.line import InputLine, OutputLine
from safety.action import Action
from safety.beat import Heartbeat, LoopState
from safety.decide import Cause, Decision, Inputs, Reason, decide
from safety.estop import Estop, EstopState
from safety.feedback import Feedback
from safety.flags import Flags
from safety.gate import Gate
from safety.order import Order, Orders
from safety.recovery import LINE_FAILURES, Recovery
from safety.watch import Flag, Watch

OnEvent = Callable[[str, str, str, dict[str, Any]], object]


class Interlock:
    """Holds power off unless everything is well. What stopped the robot is latched until `reset`."""

    def __init__(
        self,
        estop: InputLine | None,
        drive_enable: OutputLine | None,
        cut_torque: Callable[[], list[str]],
        gate: Gate,
        heartbeat: Heartbeat,
        stall_s: float,
        stop_timeout_s: float,
        on_event: OnEvent,
        clock: Callable[[], int] = time.monotonic_ns,
        feedback: InputLine | None = None,
        feedback_s: float = 0.0,
        release_s: float = 0.0,
        watches: Sequence[Watch] = (),
        slow_speed: float = 0.25,
        hold_after_stop: bool = False,
    ) -> None:
        """`cut_torque` switches torque off on every bus and returns what went wrong; `clock` times reactions.

        `feedback`: active while motor power flows; it follows drive-enable within `feedback_s`. `release_s`: how
        long the e-stop reads as released before it is. `watches`: whose flags count. `slow_speed`: part of its top
        speed that a joint may use when slowed. `hold_after_stop`: a controlled stop keeps the torque on.
        """
        self.drive_enabled = False
        """Drive-enable is driven active (where there is no such line: it would be)."""
        self.decision = Decision(Action.NONE, (), {}, stopping=False)
        """The last decision."""
        self.orders = Orders()
        """What the control loop has to do."""
        self.latched: dict[str, str] = {}
        """What lasts until a reset, in words by cause. Replaced, never changed."""
        self.standing: list[str] = []
        """What stands and is not latched, in words. Replaced, never changed."""
        self._estop = Estop(estop, release_s, self.tell)
        self._drive_enable = drive_enable
        self._cut_torque = cut_torque
        self._gate = gate
        self._heartbeat = heartbeat
        self._stall_ns = round(stall_s * 1e9)
        self._stop_timeout_ns = round(stop_timeout_s * 1e9)
        self._on_event = on_event
        self._clock = clock
        self._slow_speed = slow_speed
        self._hold_after_stop = hold_after_stop
        self._flags = Flags(watches, self.tell)
        self._latches: Mapping[str, Reason] = {}
        self._others: dict[str, str] = {}
        self._torque_problem = ""
        self._drive_line = Recovery("the drive-enable line", drive_enable, self._rest_drive_enable, self.tell)
        self._feedback = Feedback(feedback, feedback_s, self.tell)
        self._estop_order = ""
        self._stop_order = Action.NONE
        self._stop_reason = ""
        self._stop_since_ns: int | None = None
        self._inputs = self._look()

    def step(self, now_ns: int, estop_edge: bool = False) -> Decision:
        """Read, decide, act. `now_ns`: CLOCK_MONOTONIC, ns; `estop_edge`: the e-stop's line had an edge."""
        if self._estop.read(now_ns, estop_edge) and Cause.ESTOP in self.latched:
            self.tell("safety.estop_released", "the e-stop is released; it stays latched until reset", "info")
        self._check_drive_enable()
        self._feedback.look(now_ns, self.drive_enabled)
        if not estop_edge:  # nothing goes before the e-stop's edge
            self._flags.look(now_ns)
        inputs = self._inputs = self._look()
        decision = decide(inputs, now_ns)
        self._act(decision, inputs, now_ns)
        if decision != self.decision:
            self._warn(decision, inputs, now_ns)
            others = [reason.cause for reason in decision.reasons if reason.cause not in self.latched]
            self.standing = [self._text(cause, inputs, now_ns) for cause in others]
            self.decision = decision
        slow = self._slow_speed if decision.action is Action.SLOW else 1.0
        order = Order(decision.action, decision.stop_latched, slow, now_ns)
        if order[:3] != self.orders.last[:3]:
            self.orders.last = order
        self._flags.tell()
        if self._stop_order and not any(reason.cause == Cause.STOP_REQUEST for reason in decision.reasons):
            self._stop_order = Action.NONE
        if not decision.stopping:
            self._stop_since_ns = None
        elif self._stop_since_ns is None:
            self._stop_since_ns = now_ns
        self._estop.step(now_ns)  # last: nothing waits for a line to come back
        self._drive_line.step(now_ns)
        self._feedback.step(now_ns)
        return decision

    def arm(self, now_ns: int) -> list[str]:
        """Make drive-enable active and permit the gate to be opened once. Returns why not, empty when done."""
        decision = self.step(now_ns)
        barring = [cause for cause, latch in self._latches.items() if latch.bars_arming]
        refusals = [f"{self.latched[cause]}; reset once the cause is gone" for cause in barring]
        refusals += [
            self._text(reason.cause, self._inputs, now_ns)
            for reason in decision.reasons
            if reason.bars_arming and reason.cause not in barring
        ]
        if self._inputs.beat_ns is None:
            refusals.append("the control loop is not running")
        if not self._feedback.follows(self.drive_enabled) and Cause.FEEDBACK not in self.latched:
            refusals.append("the contactor has not dropped out yet; try again in a moment")
        if refusals:
            return refusals
        if not self.drive_enabled and not self._drive(active=True):
            self.step(now_ns)
            return list(self.latched.values())
        self.drive_enabled = True
        self._feedback.look(now_ns, driven=True)  # its time begins
        self._gate.permit()
        self.tell("safety.armed", "drive-enable is active: motors may be energised", "info")
        return []

    def disarm(self, now_ns: int) -> None:
        """Close the gate, make drive-enable inactive. Nothing is latched."""
        self._gate.close("disarmed")
        was_enabled, self.drive_enabled = self.drive_enabled, False
        self._drive(active=False)
        if was_enabled:
            self.tell("safety.disarmed", "drive-enable is inactive", "info")
        self.step(now_ns)

    def request_stop(self, category: int, reason: str, now_ns: int) -> None:
        """Stop the robot: 0 at once and latched, 1 through the loop and power off, 2 through the loop and hold."""
        if category == 0:
            self._estop_order = reason
        else:
            wanted = Action.CONTROLLED_STOP if category == 1 else Action.HOLD
            if wanted > self._stop_order:
                self._stop_order, self._stop_reason = wanted, reason
            if not self._gate.is_open:
                self._gate.close(reason)  # takes back a permission that was not used yet
        self.step(now_ns)

    def reset(self, now_ns: int) -> list[str]:
        """Forget what is latched, unless a cause still stands. Returns what stands. Never gives power back."""
        decision = self.step(now_ns)
        stands = {reason.cause for reason in decision.reasons}
        if decision.blocking:
            return [
                self._text(cause, self._inputs, now_ns)
                if cause in stands
                else f"{self.latched[cause]}; only a restart of the daemon clears this"
                for cause in decision.blocking
            ]
        if self.latched:
            self.latched, self._latches = {}, {}
            self.tell("safety.reset", "what was latched is reset; no power is given back", "info")
            self.step(now_ns)
        return []

    @property
    def flags(self) -> tuple[Flag, ...]:
        """What the watches said at the last look. Replaced, never changed."""
        return self._flags.standing

    @property
    def estop_state(self) -> EstopState:
        """The e-stop as last read; a line that is gone counts as pressed."""
        return self._estop.state

    @property
    def estop_lost(self) -> bool:
        """The e-stop's line is gone: it counts as pressed until it is back."""
        return bool(self._estop.problem)

    @property
    def power_confirmed(self) -> bool:
        """Drive-enable is active, and the contactor's feedback, where there is one, says that power flows."""
        return self.drive_enabled and self._feedback.follows(True)

    @property
    def power_cut(self) -> bool:
        """There is a drive-enable line, it obeys, and it is inactive, and the contactor has dropped out."""
        obeys = self._drive_enable is not None and not self._drive_line.problem
        return obeys and not self.drive_enabled and self._feedback.follows(False)

    def lose_estop(self, error: Exception | str) -> None:
        """The e-stop's line is gone: it counts as pressed from now on."""
        self._estop.lose(error)

    def report(self, cause: Cause, problem: str) -> None:
        """What is wrong with an output that somebody else drives, one sentence; empty: nothing.

        `cause`: HEARTBEAT or WATCHDOG.
        """
        if problem:
            self._others[cause] = problem
        else:
            self._others.pop(cause, None)

    def shut(self, reason: str) -> None:
        """Everything off, for good. Never raises."""
        self._gate.close(reason)
        was_enabled, self.drive_enabled = self.drive_enabled, False
        with contextlib.suppress(Exception):
            self._drive(active=False)
        if was_enabled:
            with contextlib.suppress(Exception):
                self._cut_torque()

    def _check_drive_enable(self) -> None:
        if self._drive_enable is None or self._drive_line.problem:
            return
        try:
            self._drive_enable.check()
        except LINE_FAILURES as error:
            self._drive_line.lose(error)

    def _look(self) -> Inputs:
        beat, seen = self._heartbeat.last, self._heartbeat.seen
        self._heartbeat.seen = beat
        state = beat.state if beat is not None else 0
        return Inputs(
            estop_pressed=self._estop.state == "pressed" or self._estop.pulse,
            estop_requested=bool(self._estop_order),
            beat_ns=beat.now_ns if beat is not None else None,
            past_silence_ns=beat.silence_ns if beat is not None and beat is not seen else 0,
            stall_ns=self._stall_ns,
            armed=self.drive_enabled,
            gate_open=self._gate.is_open,
            energised=bool(state & LoopState.ENERGISED),
            holding=bool(state & LoopState.HOLDING),
            loop_fault=bool(state & LoopState.FAULT),
            stop_requested=self._stop_order,
            stop_since_ns=self._stop_since_ns,
            stop_timeout_ns=self._stop_timeout_ns,
            lost=frozenset(cause for cause, problem in self._problems.items() if problem),
            hold_after_stop=self._hold_after_stop,
            flags=self._flags.standing,
            latched=self._latches,
        )

    @property
    def _problems(self) -> dict[str, str]:
        """What is wrong with each line, in words; empty: nothing."""
        return {
            **self._others,
            Cause.ESTOP_CHANNELS: self._estop.channels_problem,
            Cause.DRIVE_ENABLE: self._drive_line.problem,
            Cause.FEEDBACK: self._feedback.problem,
            Cause.TORQUE_OFF_FAILED: self._torque_problem,
        }

    def _act(self, decision: Decision, inputs: Inputs, now_ns: int) -> None:
        """Latch, and do what is not the loop's to do."""
        raised = {
            cause: self._text(cause, inputs, now_ns)
            for cause, latch in decision.latched.items()
            if cause not in self._latches or latch.action > self._latches[cause].action
        }
        self._latches = decision.latched
        if raised:
            self.latched = {**self.latched, **raised}  # first: whoever sees the gate closed finds the reason here
        if decision.action >= Action.TORQUE_OFF:
            raised.pop(Cause.TORQUE_OFF_FAILED, None)  # it was tried just now
            fresh = {c: text for c, text in raised.items() if self._latches[c].action >= Action.TORQUE_OFF}
            if fresh or self.drive_enabled or self._gate.is_open:
                self._trip(fresh, now_ns)
        elif decision.action >= Action.HOLD and not self._gate.is_open:
            self._gate.close("a stop is in force")  # takes back a permission that was not used yet
        if Cause.TORQUE_OFF_FAILED in self._latches:
            self._torque_problem = ""  # latched: whoever resets tries the motors again

    def _trip(self, texts: dict[str, str], now_ns: int) -> None:
        """Stop category 0: gate, drive-enable, torque, in this order, then the words."""
        seen = self.seen(now_ns)
        why = "; ".join(texts.values()) or "torque off is latched"
        self._gate.close(why)
        self.drive_enabled = False
        self._drive(active=False)
        drive_off_ns = self._clock()
        problems = self._cut_torque()
        torque_off_ns = self._clock()
        self._estop_order, self._stop_order = "", Action.NONE
        reaction_us, torque_us = (drive_off_ns - now_ns) / 1e3, (torque_off_ns - now_ns) / 1e3
        self.tell(
            "safety.torque_off",
            f"{why}: drive-enable off after {reaction_us:.0f} us, torque off after {torque_us:.0f} us",
            "error",
            causes=[str(cause) for cause in texts],
            category=0,
            **seen,
            reaction_us=reaction_us,
            torque_off_us=torque_us,
        )
        self._torque_problem = "; ".join(problems)
        for problem in problems:
            self.tell("safety.torque_off_failed", problem, "error")

    def _warn(self, decision: Decision, inputs: Inputs, now_ns: int) -> None:
        """Tell what is new and has not cut power; the watches' flags are told by `Flags` as well."""
        fresh = [reason for reason in decision.reasons if reason not in self.decision.reasons]
        stops = [reason.cause for reason in fresh if Action.HOLD <= reason.action < Action.TORQUE_OFF]
        if stops and decision.action < Action.TORQUE_OFF:
            why = "; ".join(self._text(cause, inputs, now_ns) for cause in stops)
            self.tell(
                "safety.stop",
                f"{why}: the loop has to stop the robot",
                "error",
                causes=stops,
                category=decision.action.category,
                **self.seen(now_ns),
            )
        flags = {flag.name for flag in inputs.flags}
        for reason in fresh:
            if reason.cause not in flags and reason.action < Action.HOLD:
                text = self._text(reason.cause, inputs, now_ns)
                self.tell(f"safety.{reason.cause}", text, "warning", action=reason.action.name.lower())
        if decision.action is Action.POWER_CUT and self.decision.action is not Action.POWER_CUT:
            self.tell(
                "safety.power_cut", "the heartbeat line rests: the relay behind it has to cut power", "error"
            )

    def _rest_drive_enable(self) -> None:
        if self._drive_enable is not None:
            self._drive_enable.set(False)

    def _drive(self, active: bool) -> bool:
        """Drive the line. Returns whether it obeyed; one that did not is lost."""
        if self._drive_enable is None:
            return True
        if self._drive_line.problem:
            return False
        try:
            self._drive_enable.set(active)
        except LINE_FAILURES as error:
            self._drive_line.lose(error)
            return False
        return True

    def _text(self, cause: str, inputs: Inputs, now_ns: int) -> str:
        match cause:
            case Cause.ESTOP:
                return (
                    f"the e-stop line is gone: {self._estop.problem}"
                    if self.estop_lost
                    else "the e-stop is pressed"
                )
            case Cause.ESTOP_REQUEST:
                return f"emergency stop: {self._estop_order}"
            case Cause.STALL:
                silence_ms, limit_ms = inputs.silence_ns(now_ns) / 1e6, self._stall_ns / 1e6
                return f"the control loop has not run for {silence_ms:.1f} ms, {limit_ms:g} ms are allowed"
            case Cause.DRIVE_ENABLE:
                return f"drive-enable cannot be driven: {self._drive_line.problem}"
            case Cause.STOP_OVERDUE:
                return f"the control loop has not finished a stop within {self._stop_timeout_ns / 1e9:g} s"
            case Cause.LOOP_FAULT:
                return "the control loop reports a fault"
            case Cause.STOP_REQUEST:
                return f"stop requested: {self._stop_reason}"
            case _:
                return self._problems.get(cause) or self._flags.text(cause)

    def seen(self, now_ns: int) -> dict[str, Any]:
        """What is known at `now_ns`, as the fields of an event: e-stop, power, and the loop's last beat."""
        beat = self._heartbeat.last
        return {
            "estop": "pressed" if self._estop.pulse else self.estop_state,
            "armed": self.drive_enabled,
            "gate_open": self._gate.is_open,
            "loop": "none" if beat is None else (LoopState(beat.state).name or "idle").lower(),
            "tick": beat.tick if beat is not None else None,
            "beat_age_ms": (now_ns - beat.now_ns) / 1e6 if beat is not None else None,
        }

    def tell(self, name: str, message: str, level: str, **fields: Any) -> None:
        """Pass on an event, with the loop's last tick. What goes wrong with the listeners does not reach us."""
        if (beat := self._heartbeat.last) is not None:
            fields.setdefault("tick", beat.tick)
        with contextlib.suppress(Exception):
            self._on_event(name, message, level, fields)
