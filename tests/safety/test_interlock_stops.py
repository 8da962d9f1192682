"""Stalls of the loop, and stops of every category: who makes them, and what ends them."""

from __future__ import annotations

from typing import Any

import pytest

from safety.action import Action
from safety.beat import LoopState
from safety.decide import Cause
from safety.watch import Clear, Flag
from tests.interlock_bench import MS, STALL_MS, TIMEOUT_MS, Bench


def test_a_stalled_loop_loses_power_at_once(bench: Bench) -> None:
    bench.armed()
    assert bench.step(STALL_MS, beat=None) == Action.NONE
    assert bench.powered
    assert bench.step(1, beat=None) == Action.TORQUE_OFF
    assert not bench.powered
    assert bench.gate.reason == "the control loop has not run for 21.0 ms, 20 ms are allowed"
    assert len(bench.reset()) == 1
    assert bench.step(1) == Action.TORQUE_OFF, "a loop that runs again does not clear it"
    assert bench.reset() == []


def test_a_stall_that_ends_before_anybody_could_look_counts(bench: Bench) -> None:
    """Nothing else ran while something kept the interpreter's lock; the loop was the first to go on."""
    bench.armed()
    assert bench.step() == Action.NONE
    bench.now += (STALL_MS + 1) * MS
    bench.beat(LoopState.ENERGISED)
    bench.now += MS
    bench.beat(LoopState.ENERGISED)
    assert bench.step(0, beat=None) == Action.TORQUE_OFF
    assert bench.gate.reason == "the control loop has not run for 21.0 ms, 20 ms are allowed"
    assert bench.reset() == [], "it is over"


def test_a_stall_while_the_motors_are_being_energised_counts(bench: Bench) -> None:
    bench.beat()
    assert bench.arm() == []
    assert bench.step(STALL_MS + 1, beat=None) == Action.TORQUE_OFF
    assert not bench.gate.open()


def test_a_stall_without_power_only_warns_and_keeps_from_arming(bench: Bench) -> None:
    bench.step()
    assert bench.step(STALL_MS + 5, beat=None) == Action.WARN
    assert not bench.order
    assert "safety.stall" in bench.events.names
    assert bench.arm() == ["the control loop has not run for 25.0 ms, 20 ms are allowed"]
    assert [bench.step(), bench.step()] == [Action.WARN, Action.NONE], "until the loop has run twice"


def test_motors_that_the_loop_takes_to_be_energised_lose_power_when_it_stalls(bench: Bench) -> None:
    bench.step(0, LoopState.ENERGISED)  # although neither drive-enable nor the gate says so
    assert bench.step(STALL_MS + 1, beat=None) == Action.TORQUE_OFF
    assert list(bench.interlock.latched) == [Cause.STALL]


def test_without_a_loop_and_without_power_a_stop_is_done_at_once(bench: Bench) -> None:
    bench.interlock.request_stop(1, "asked by an operator", bench.now)
    assert bench.step(beat=None) == Action.NONE
    assert bench.interlock.standing == []


def test_of_two_requests_for_the_same_stop_the_first_is_told(bench: Bench) -> None:
    bench.armed()
    for who in ("first", "second"):
        bench.interlock.request_stop(2, who, bench.now)
    bench.step(5, LoopState.ENERGISED)
    assert bench.interlock.standing == ["stop requested: first"]
    bench.step(5, LoopState.ENERGISED | LoopState.FAULT)
    assert "stop requested: first" in bench.interlock.standing, "also when something else comes"


@pytest.mark.parametrize(("category", "action"), [(1, Action.CONTROLLED_STOP), (2, Action.HOLD)])
def test_a_controlled_stop_is_left_to_the_loop(bench: Bench, category: int, action: Action) -> None:
    bench.armed()
    bench.interlock.request_stop(category, "asked by an operator", bench.now)
    assert set(bench.run(TIMEOUT_MS)) == {action}
    assert bench.powered
    [stop] = bench.events.named("safety.stop")
    assert (stop["causes"], stop["category"]) == (["stop_request"], category)
    assert bench.step(5, LoopState.ENERGISED) == Action.TORQUE_OFF
    assert not bench.powered
    assert Cause.STOP_OVERDUE in bench.interlock.latched
    assert bench.reset() == []


def test_a_stop_of_category_2_ends_when_the_loop_holds(bench: Bench) -> None:
    bench.armed()
    bench.interlock.request_stop(2, "asked by an operator", bench.now)
    bench.run(300)
    assert bench.step(5, LoopState.ENERGISED | LoopState.HOLDING) == Action.NONE
    assert set(bench.run(2 * TIMEOUT_MS)) == {Action.NONE}
    assert bench.powered


def test_a_stop_of_category_1_ends_when_the_power_is_off(bench: Bench) -> None:
    bench.armed()
    bench.interlock.request_stop(1, "asked by an operator", bench.now)
    bench.run(300)
    assert bench.step(5, LoopState.ENERGISED | LoopState.HOLDING) == Action.CONTROLLED_STOP
    bench.beat()
    bench.interlock.disarm(bench.now)
    assert bench.step(5) == Action.NONE
    assert not bench.interlock.latched


def test_a_stop_is_only_ever_raised_and_each_has_its_own_time(bench: Bench) -> None:
    bench.armed()
    bench.interlock.request_stop(1, "first", bench.now)
    bench.interlock.request_stop(2, "second", bench.now)
    assert bench.step() == Action.CONTROLLED_STOP
    bench.beat()
    bench.interlock.disarm(bench.now)
    bench.step(3 * TIMEOUT_MS)
    bench.armed()
    bench.interlock.request_stop(2, "third", bench.now)
    assert bench.run(TIMEOUT_MS)[-1] == Action.HOLD


def test_a_stop_without_power_is_done_and_does_not_wait_for_the_next_arming(bench: Bench) -> None:
    bench.step()
    bench.interlock.request_stop(1, "asked by an operator", bench.now)
    bench.armed()
    assert bench.step() == Action.NONE


def test_a_stop_takes_back_a_permission_that_was_not_used(bench: Bench) -> None:
    bench.beat()
    assert bench.arm() == []
    bench.interlock.request_stop(2, "asked by an operator", bench.now)
    assert not bench.gate.open()


def test_a_permission_to_open_the_gate_is_taken_back_for_the_reason_of_the_stop(bench: Bench) -> None:
    bench.beat()
    assert bench.arm() == []
    bench.interlock.request_stop(1, "asked by an operator", bench.now)
    assert bench.gate.reason == "asked by an operator"
    bench.beat()
    bench.interlock.disarm(bench.now)
    assert bench.arm() == []
    bench.step(5, LoopState.FAULT)
    assert bench.gate.reason == "a stop is in force"
    assert not bench.gate.open()


def test_a_fault_of_the_loop_is_escalated_when_its_stop_takes_too_long(bench: Bench) -> None:
    bench.armed()
    assert set(bench.run(TIMEOUT_MS, LoopState.ENERGISED | LoopState.FAULT)) == {Action.CONTROLLED_STOP}
    assert bench.powered
    bench.run(10, LoopState.ENERGISED | LoopState.FAULT)
    assert not bench.powered
    assert list(bench.interlock.latched) == [Cause.STOP_OVERDUE]


def test_unless_it_is_told_otherwise_a_slowed_joint_uses_a_quarter_of_its_speed(line: Any, events: Any) -> None:
    class Near:
        def look(self, now_ns: int) -> list[Flag]:
            return [Flag("near", Action.SLOW, Clear.GONE, "somebody is near")]

    bench = Bench(line, events, watches=[Near()]).armed()
    bench.step()
    assert bench.interlock.orders.last[:3] == (Action.SLOW, False, 0.25)
