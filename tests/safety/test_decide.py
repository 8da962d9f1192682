from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from safety.decide import Action, Cause, Decision, Inputs, decide

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
BEATS = (None, NOW, NOW - STALL, NOW - STALL - 1, NOW + 5)
SINCE = (None, NOW, NOW - TIMEOUT, NOW - TIMEOUT - 1)
LOST = (frozenset[Cause](), frozenset({Cause.DRIVE_ENABLE}), frozenset({Cause.HEARTBEAT, Cause.WATCHDOG}))
LATCHED = (frozenset[Cause](), frozenset({Cause.STALL}), frozenset({Cause.ESTOP, Cause.STOP_OVERDUE}))


def every_input() -> list[Inputs]:
    return [
        Inputs(
            pressed,
            asked,
            beat,
            STALL,
            armed,
            gate,
            energised,
            holding,
            fault,
            stop,
            since,
            TIMEOUT,
            lost,
            latched,
        )
        for pressed, asked, beat, armed, gate, energised, holding, fault, stop, since, lost, latched in product(
            BOOLS,
            BOOLS,
            BEATS,
            BOOLS,
            BOOLS,
            BOOLS,
            BOOLS,
            BOOLS,
            (Action.NONE, Action.HOLD, Action.CONTROLLED_STOP),
            SINCE,
            LOST,
            LATCHED,
        )
    ]


def expected(inputs: Inputs) -> tuple[dict[Cause, Action], frozenset[Cause]]:
    """The rules once more, as a table: each cause, when it stands, and what it calls for."""
    power = inputs.armed or inputs.gate_open or inputs.energised
    off = Action.TORQUE_OFF
    stop_goes_on = {
        Action.NONE: False,
        Action.HOLD: inputs.gate_open and not inputs.holding,
        Action.CONTROLLED_STOP: power,
    }[inputs.stop_requested]
    must_stop = (inputs.loop_fault and power) or stop_goes_on
    too_late = inputs.stop_since_ns is not None and inputs.stop_since_ns < NOW - TIMEOUT
    table = [
        (Cause.ESTOP, inputs.estop_pressed, off),
        (Cause.ESTOP_REQUEST, inputs.estop_requested, off),
        (Cause.DRIVE_ENABLE, Cause.DRIVE_ENABLE in inputs.lost, off),
        (Cause.HEARTBEAT, Cause.HEARTBEAT in inputs.lost, off),
        (Cause.WATCHDOG, Cause.WATCHDOG in inputs.lost, off),
        (Cause.STALL, inputs.beat_ns == NOW - STALL - 1, off if power else Action.WARN),
        (Cause.LOOP_FAULT, inputs.loop_fault, Action.CONTROLLED_STOP if power else Action.WARN),
        (Cause.STOP_REQUEST, stop_goes_on, inputs.stop_requested),
        (Cause.STOP_OVERDUE, must_stop and too_late, off),
    ]
    reasons = {cause: action for cause, stands, action in table if stands}
    return reasons, inputs.latched | {cause for cause, action in reasons.items() if action == off}


def test_every_combination_of_inputs() -> None:
    seen = set()
    for inputs in every_input():
        decision = decide(inputs, NOW)
        reasons, latched = expected(inputs)
        assert dict(decision.reasons) == reasons
        assert len(decision.reasons) == len(reasons)
        assert decision.latched == latched
        worst = max(reasons.values(), default=Action.NONE)
        assert decision.action == (Action.TORQUE_OFF if latched else worst)
        assert set(decision.blocking) == latched & set(reasons)
        seen.add(decision.action)
    assert seen == set(Action) - {Action.SLOW, Action.POWER_CUT}


def test_all_is_well() -> None:
    assert decide(CALM, NOW) == Decision(Action.NONE, (), frozenset())


@pytest.mark.parametrize(
    ("change", "action", "cause"),
    [
        ({"estop_pressed": True}, Action.TORQUE_OFF, Cause.ESTOP),
        ({"beat_ns": NOW - STALL - 1}, Action.TORQUE_OFF, Cause.STALL),
        ({"loop_fault": True}, Action.CONTROLLED_STOP, Cause.LOOP_FAULT),
        ({"stop_requested": Action.HOLD}, Action.HOLD, Cause.STOP_REQUEST),
    ],
)
def test_each_cause_alone(change: dict[str, object], action: Action, cause: Cause) -> None:
    decision = decide(replace(CALM, **change), NOW)  # type: ignore[arg-type]
    assert decision.action == action
    assert [found for found, _ in decision.reasons] == [cause]


def test_categories_are_those_of_the_standard() -> None:
    assert [action.category for action in Action] == [None, None, None, 2, 1, 0, 0]
