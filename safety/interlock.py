"""The interlock: reads what is to be known, decides, and acts on drive-enable, gate and torque.

It has no thread and takes the time as an argument: everything happens in `step`. One thread calls all methods;
others may read the public attributes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any, Literal

from drivers.line import InputLine, OutputLine
from safety.beat import Heartbeat, LoopState
from safety.channels import TwoChannels
from safety.decide import Action, Cause, Decision, Inputs, decide
from safety.feedback import Feedback
from safety.gate import Gate
from safety.recovery import LINE_FAILURES, Recovery

EstopState = Literal["none", "released", "pressed"]
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
    ) -> None:
        """`cut_torque` switches torque off on every bus and returns what went wrong; `clock` times reactions.

        `feedback`: active while motor power flows; it follows drive-enable within `feedback_s`. `release_s`: how
        long the e-stop reads as released before it is.
        """
        self.estop_state: EstopState = "none" if estop is None else "pressed"
        """The e-stop as last read; a line that is gone counts as pressed."""
        self.drive_enabled = False
        """Drive-enable is driven active (where there is no such line: it would be)."""
        self.decision = Decision(Action.NONE, (), frozenset())
        """The last decision."""
        self.latched: dict[Cause, str] = {}
        """What stopped the robot and lasts until a reset, in words. Replaced, never changed."""
        self._estop = estop
        self._drive_enable = drive_enable
        self._cut_torque = cut_torque
        self._gate = gate
        self._heartbeat = heartbeat
        self._stall_ns = round(stall_s * 1e9)
        self._stop_timeout_ns = round(stop_timeout_s * 1e9)
        self._on_event = on_event
        self._clock = clock
        self._others: dict[Cause, str] = {}
        self._estop_line = Recovery("the e-stop line", estop, lambda: estop and estop.read(), self.tell)
        self._drive_line = Recovery("the drive-enable line", drive_enable, self._rest_drive_enable, self.tell)
        self._channels = estop if isinstance(estop, TwoChannels) else None
        self._release_ns = round(release_s * 1e9)
        self._closed, self._closed_ns = True, -self._release_ns  # at the start it counts as it is
        self._feedback = Feedback(feedback, feedback_s, self.tell)
        self._estop_pulse = False
        self._estop_order = ""
        self._stop_order = Action.NONE
        self._stop_reason = ""
        self._stop_since_ns: int | None = None

    def step(self, now_ns: int, estop_edge: bool = False) -> Decision:
        """Read, decide, act. `now_ns`: CLOCK_MONOTONIC, ns; `estop_edge`: the e-stop's line had an edge."""
        self._read_estop(now_ns, estop_edge)
        self._check_drive_enable()
        self._feedback.look(now_ns, self.drive_enabled)
        inputs = self._inputs()
        decision = decide(inputs, now_ns)
        if decision.action is Action.TORQUE_OFF:
            fresh = decision.latched.difference(self.latched)
            if fresh or self.drive_enabled or self._gate.is_open:
                self._trip({cause: self._text(cause, inputs, now_ns) for cause in fresh}, now_ns)
        if decision != self.decision:
            self._warn(decision, inputs, now_ns)
            self.decision = decision
        if self._stop_order and not any(cause is Cause.STOP_REQUEST for cause, _ in decision.reasons):
            self._stop_order = Action.NONE
        if decision.action.category not in (1, 2):
            self._stop_since_ns = None
        elif self._stop_since_ns is None:
            self._stop_since_ns = now_ns
        self._estop_line.step(now_ns)  # last: nothing waits for a line to come back
        self._drive_line.step(now_ns)
        self._feedback.step(now_ns)
        return decision

    def arm(self, now_ns: int) -> list[str]:
        """Make drive-enable active and permit the gate to be opened once. Returns why not, empty when done."""
        decision = self.step(now_ns)
        refusals = [f"{text}; reset once the cause is gone" for text in self.latched.values()]
        inputs = self._inputs()
        refusals += [
            self._text(cause, inputs, now_ns) for cause, _ in decision.reasons if cause not in self.latched
        ]
        if inputs.beat_ns is None:
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
        inputs = self._inputs()
        if standing := [self._text(cause, inputs, now_ns) for cause in decision.blocking]:
            return standing
        if self.latched:
            self.latched = {}
            self.tell("safety.reset", "what stopped the robot was reset; power stays off", "info")
            self.step(now_ns)
        return []

    @property
    def estop_lost(self) -> bool:
        """The e-stop's line is gone: it counts as pressed until it is back."""
        return bool(self._estop_line.problem)

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
        self._estop_line.lose(error)
        self.estop_state, self._closed = "pressed", False

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

    def _read_estop(self, now_ns: int, edge: bool) -> None:
        self._estop_pulse = False
        if self._estop is None or self.estop_lost:
            return
        try:
            # Active is a closed contact: a cut wire reads as pressed.
            closed = self._estop.read()
        except LINE_FAILURES as error:
            self.lose_estop(error)
            return
        if self._channels is not None:
            self._channels.judge(now_ns)
        # A contact that bounces delays the release, never the press.
        if edge or not (closed and self._closed):
            self._closed_ns = now_ns
        self._closed = closed
        waits = self.estop_state == "pressed" and now_ns - self._closed_ns < self._release_ns
        state: EstopState = "released" if closed and not waits else "pressed"
        if state != self.estop_state:
            self.estop_state = state
            if state == "released" and Cause.ESTOP in self.latched:
                self.tell("safety.estop_released", "the e-stop is released; it stays latched until reset", "info")
        elif edge and state == "released":
            self._estop_pulse = True  # an edge between two reads of `released` is a press that was let go

    def _check_drive_enable(self) -> None:
        if self._drive_enable is None or self._drive_line.problem:
            return
        try:
            self._drive_enable.check()
        except LINE_FAILURES as error:
            self._drive_line.lose(error)

    def _inputs(self) -> Inputs:
        beat = self._heartbeat.last
        state = beat.state if beat is not None else 0
        return Inputs(
            estop_pressed=self.estop_state == "pressed" or self._estop_pulse,
            estop_requested=bool(self._estop_order),
            beat_ns=beat.now_ns if beat is not None else None,
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
            latched=frozenset(self.latched),
        )

    @property
    def _problems(self) -> dict[Cause, str]:
        """What is wrong with each line, in words; empty: nothing."""
        return {
            **self._others,
            Cause.ESTOP_CHANNELS: self._channels.problem if self._channels is not None else "",
            Cause.DRIVE_ENABLE: self._drive_line.problem,
            Cause.FEEDBACK: self._feedback.problem,
        }

    def _trip(self, texts: dict[Cause, str], now_ns: int) -> None:
        """Stop category 0: gate, drive-enable, torque, in this order, then the words."""
        beat, armed, gate_open = self._heartbeat.last, self.drive_enabled, self._gate.is_open
        why = "; ".join(texts.values()) or "torque off is latched"
        self.latched = {**self.latched, **texts}  # first: whoever sees the gate closed finds the reason here
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
            estop="pressed" if self._estop_pulse else self.estop_state,
            armed=armed,
            gate_open=gate_open,
            loop="none" if beat is None else (LoopState(beat.state).name or "idle").lower(),
            tick=beat.tick if beat is not None else None,
            beat_age_ms=(now_ns - beat.now_ns) / 1e6 if beat is not None else None,
            reaction_us=reaction_us,
            torque_off_us=torque_us,
        )
        for problem in problems:
            self.tell("safety.torque_off_failed", problem, "error")

    def _warn(self, decision: Decision, inputs: Inputs, now_ns: int) -> None:
        """Tell what is new and has not cut power."""
        for cause, action in decision.reasons:
            if action < Action.TORQUE_OFF and (cause, action) not in self.decision.reasons:
                text = self._text(cause, inputs, now_ns)
                self.tell(f"safety.{cause}", text, "warning", action=action.name.lower())

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

    def _text(self, cause: Cause, inputs: Inputs, now_ns: int) -> str:
        match cause:
            case Cause.ESTOP:
                return (
                    f"the e-stop line is gone: {self._estop_line.problem}"
                    if self.estop_lost
                    else "the e-stop is pressed"
                )
            case Cause.ESTOP_REQUEST:
                return f"emergency stop: {self._estop_order}"
            case Cause.STALL:
                age_ms, limit_ms = (now_ns - (inputs.beat_ns or 0)) / 1e6, self._stall_ns / 1e6
                return f"the control loop has not run for {age_ms:.1f} ms, {limit_ms:g} ms are allowed"
            case Cause.DRIVE_ENABLE:
                return f"drive-enable cannot be driven: {self._drive_line.problem}"
            case Cause.ESTOP_CHANNELS | Cause.FEEDBACK | Cause.HEARTBEAT | Cause.WATCHDOG:
                return self._problems.get(cause, "")
            case Cause.STOP_OVERDUE:
                return f"the control loop has not finished a stop within {self._stop_timeout_ns / 1e9:g} s"
            case Cause.LOOP_FAULT:
                return "the control loop reports a fault"
            case Cause.STOP_REQUEST:
                return f"stop requested: {self._stop_reason}"

    def tell(self, name: str, message: str, level: str, **fields: Any) -> None:
        """Pass on an event. Whatever goes wrong with those who listen does not reach the interlock."""
        with contextlib.suppress(Exception):
            self._on_event(name, message, level, fields)
