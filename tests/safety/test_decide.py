"""`decide` in every combination of what it depends on.

All inputs at once would be 10^9 combinations. They fall into three groups that meet only in "the worst wins":
what is wrong (each cause yields one reason, independent of the others), power (whether a reason is in force), and
the end of a controlled stop. So every set of causes is tried with and without power, every flag with every state
of the latch and of the power, and the end of every stop in every state of the loop and the clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from safety.action import Action
from safety.decide import Cause, Decision, Inputs, Reason, decide
from safety.watch import Clear, Flag

NOW = 10_000_000_000
STALL = 20_000_000
TIMEOUT = 1_000_000_000

CALM = Inputs(
    estop_pressed=False,
    estop_requested=False,
    beat_ns=NOW - STALL // 2,
    stall_ns=STALL,
    armed=True,
    gate_open=True,
    energised=True,
    holding=False,
    loop_fault=False,
    stop_requested=Action.NONE,
    stop_since_ns=None,
    stop_timeout_ns=TIMEOUT,
    lost=frozenset(),
)
BOOLS = (False, True)
STOPS = (Action.HOLD, Action.CONTROLLED_STOP)
OFF = {"armed": False, "gate_open": False, "energised": False}
LOST = {
    Cause.ESTOP_CHANNELS: Action.TORQUE_OFF,
    Cause.HEARTBEAT: Action.TORQUE_OFF,
    Cause.WATCHDOG: Action.TORQUE_OFF,
    Cause.DRIVE_ENABLE: Action.POWER_CUT,
    Cause.FEEDBACK: Action.POWER_CUT,
    Cause.TORQUE_OFF_FAILED: Action.POWER_CUT,
}
SINGLE: dict[Cause, tuple[dict[str, Any], Action]] = {
    Cause.ESTOP: ({"estop_pressed": True}, Action.TORQUE_OFF),
    Cause.ESTOP_REQUEST: ({"estop_requested": True}, Action.TORQUE_OFF),
    Cause.STALL: ({"beat_ns": NOW - STALL - 1}, Action.TORQUE_OFF),
    Cause.LOOP_FAULT: ({"loop_fault": True}, Action.CONTROLLED_STOP),
    Cause.STOP_REQUEST: ({"stop_requested": Action.HOLD}, Action.HOLD),
    **{cause: ({"lost": frozenset({cause})}, action) for cause, action in LOST.items()},
}
"""Each cause that stands by itself, what brings it about, and what it calls for with power."""
WITHOUT_POWER = {Cause.STALL, Cause.LOOP_FAULT}
"""These are only warnings then. A stop that is asked for has been made."""


def change(inputs: Inputs, **changes: Any) -> Inputs:
    return replace(inputs, **changes)


def test_every_cause_is_tried() -> None:
    assert set(SINGLE) | {Cause.STOP_OVERDUE} == set(Cause)


def every_set_of_causes() -> Iterator[tuple[set[Cause], Inputs]]:
    for picked in product(BOOLS, repeat=len(SINGLE)):
        causes = {cause for cause, pick in zip(SINGLE, picked, strict=True) if pick}
        changes: dict[str, Any] = {}
        for cause in causes - set(LOST):
            changes |= SINGLE[cause][0]
        yield causes, replace(CALM, **changes, lost=frozenset(causes & set(LOST)))


@pytest.mark.parametrize("powered", BOOLS)
def test_the_worst_of_every_set_of_causes_wins(powered: bool) -> None:
    seen = set()
    for causes, with_power in every_set_of_causes():
        inputs = with_power if powered else change(with_power, **OFF)
        expected = {cause: SINGLE[cause][1] for cause in causes}
        if not powered:
            expected.pop(Cause.STOP_REQUEST, None)
            expected |= dict.fromkeys(causes & WITHOUT_POWER, Action.WARN)
        decision = decide(inputs, NOW)
        assert {reason.cause: reason.action for reason in decision.reasons} == expected
        assert len(decision.reasons) == len(expected)
        assert decision.action == max(expected.values(), default=Action.NONE)
        assert set(decision.latched) == {c for c, action in expected.items() if action >= Action.TORQUE_OFF}
        assert set(decision.blocking) == set(decision.latched)
        assert all(reason.bars_arming for reason in decision.reasons)
        seen.add(decision.action)
    assert seen == set(Action) - ({Action.WARN, Action.SLOW} if powered else {Action.SLOW, *STOPS})


@pytest.mark.parametrize("part", ["armed", "gate_open", "energised"])
def test_any_sign_of_power_is_power(part: str) -> None:
    inputs = change(CALM, **(OFF | {part: True}), beat_ns=NOW - STALL - 1)
    assert decide(inputs, NOW).action == Action.TORQUE_OFF


@pytest.mark.parametrize(
    ("beat_ns", "stalls"),
    [(None, False), (NOW, False), (NOW - STALL, False), (NOW - STALL - 1, True), (NOW + 5, False)],
)
def test_the_age_of_the_beat(beat_ns: int | None, stalls: bool) -> None:
    assert bool(decide(change(CALM, beat_ns=beat_ns), NOW).reasons) == stalls


def test_without_a_beat_there_is_no_silence() -> None:
    assert change(CALM, beat_ns=None, past_silence_ns=5).silence_ns(NOW) == 0
    assert change(CALM, beat_ns=NOW - 3, past_silence_ns=5).silence_ns(NOW) == 5
    assert change(CALM, beat_ns=NOW - 7, past_silence_ns=5).silence_ns(NOW) == 7


LATCHES = (None, *(Reason("zone", a, c, True) for a in Action for c in (Clear.RESET, Clear.NEVER)))


@pytest.mark.parametrize("keep", BOOLS)
@pytest.mark.parametrize("powered", BOOLS)
def test_every_flag_with_every_latch(powered: bool, keep: bool) -> None:
    for action, clear, latch, stands in product(Action, Clear, LATCHES, BOOLS):
        inputs = change(
            CALM if powered else change(CALM, **OFF),
            flags=(Flag("zone", action, clear, "in words"),) if stands else (),
            latched={"zone": latch} if latch else {},
            hold_after_stop=keep,
        )
        decision = decide(inputs, NOW)
        kept = keep and action is Action.CONTROLLED_STOP
        called = Action.HOLD if kept else action
        if not powered and action < Action.TORQUE_OFF and clear is not Clear.NEVER:
            called = min(action, Action.WARN)
            lasts = False
        else:
            lasts = clear is not Clear.GONE or action >= Action.TORQUE_OFF or (kept and powered)
        before = latch.action if latch else Action.NONE
        assert decision.action == max(called if stands else Action.NONE, before)
        assert ("zone" in decision.latched) == (latch is not None or (stands and lasts))
        if "zone" in decision.latched:
            raised = max(before, called if stands else Action.NONE)
            assert decision.latched["zone"].action == raised, "a latch is only ever raised"
            never = (latch and latch.clear is Clear.NEVER) or (stands and clear is Clear.NEVER)
            assert bool(decision.blocking) == bool(stands or never)
        if stands:
            [reason] = decision.reasons
            assert reason.bars_arming == (action >= Action.HOLD)


def test_of_two_flags_with_one_name_the_worst_is_latched() -> None:
    flags = (Flag("a", Action.TORQUE_OFF, Clear.GONE, ""), Flag("a", Action.WARN, Clear.NEVER, ""))
    for order in (flags, flags[::-1]):
        assert decide(change(CALM, flags=order), NOW).latched["a"][1:3] == (Action.TORQUE_OFF, Clear.NEVER)


def test_a_latched_warning_that_comes_to_call_for_a_stop_bars_arming() -> None:
    warned = decide(change(CALM, flags=(Flag("a", Action.WARN, Clear.RESET, ""),)), NOW).latched
    assert not warned["a"].bars_arming
    stopped = decide(change(CALM, flags=(Flag("a", Action.HOLD, Clear.GONE, ""),), latched=warned), NOW).latched
    assert stopped == {"a": Reason("a", Action.HOLD, Clear.RESET, bars_arming=True)}


def test_a_stop_that_took_too_long_is_latched_until_a_reset_and_bars_arming() -> None:
    late = change(CALM, loop_fault=True, stop_since_ns=NOW - TIMEOUT - 1)
    assert decide(late, NOW).latched[Cause.STOP_OVERDUE] == Reason(
        Cause.STOP_OVERDUE, Action.TORQUE_OFF, Clear.RESET, bars_arming=True
    )


SINCE = (None, NOW, NOW - TIMEOUT, NOW - TIMEOUT - 1)


@pytest.mark.parametrize("source", ["request", "flag", "latch"])
@pytest.mark.parametrize("action", STOPS)
def test_every_end_of_a_controlled_stop(action: Action, source: str) -> None:
    for armed, gate, energised, holding, keep, since in product(BOOLS, BOOLS, BOOLS, BOOLS, BOOLS, SINCE):
        inputs = change(
            CALM,
            armed=armed,
            gate_open=gate,
            energised=energised,
            holding=holding,
            hold_after_stop=keep,
            stop_since_ns=since,
            stop_requested=action if source == "request" else Action.NONE,
            flags=(Flag("zone", action, Clear.GONE, ""),) if source == "flag" else (),
            latched={"zone": Reason("zone", action, Clear.RESET, True)} if source == "latch" else {},
        )
        decision = decide(inputs, NOW)
        power = armed or gate or energised
        made = Action.HOLD if keep and source != "latch" else action
        moves = (gate and not holding) if made is Action.HOLD else power
        in_force = moves or source == "latch" or (source == "flag" and power)
        late = in_force and moves and since == NOW - TIMEOUT - 1
        assert decision.stopping == (in_force and moves and not late)
        assert (Cause.STOP_OVERDUE in decision.latched) == late
        if late:
            assert decision.action == Action.TORQUE_OFF
        else:
            assert decision.action == (made if in_force else Action.WARN if source == "flag" else Action.NONE)


def test_all_is_well() -> None:
    assert decide(CALM, NOW) == Decision(Action.NONE, (), {}, stopping=False)


def test_categories_are_those_of_the_standard() -> None:
    assert [action.category for action in Action] == [None, None, None, 2, 1, 0, 0]
