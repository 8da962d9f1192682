"""Who has power and who has not: arming, the gate, drive-enable and other outputs, and shutting down."""

from __future__ import annotations

from typing import Any

import pytest

from safety.action import Action
from safety.beat import LoopState
from safety.decide import Cause, Decision
from safety.order import Orders
from tests.interlock_bench import STALL_MS, Bench


def test_nothing_has_power_before_arming(bench: Bench) -> None:
    assert bench.step() == Action.NONE
    assert not bench.powered
    assert not bench.gate.open()


def test_arming_enables_the_drives_and_one_opening_of_the_gate(bench: Bench) -> None:
    bench.armed()
    assert bench.drive.history == [True]
    assert bench.interlock.drive_enabled
    assert bench.gate.is_open
    assert bench.run(500) == [Action.NONE] * 100
    bench.interlock.disarm(bench.now)
    assert not bench.powered
    assert not bench.order, "disarming is no emergency"
    assert not bench.interlock.latched
    assert bench.events.names == ["safety.armed", "safety.disarmed"]


def test_a_robot_without_estop_and_drive_enable(line: Any, events: Any) -> None:
    bench = Bench(line, events, estop=False, drive=False).armed()
    assert bench.interlock.estop_state == "none"
    assert bench.run(100) == [Action.NONE] * 20
    assert bench.step(STALL_MS + 1, beat=None) == Action.TORQUE_OFF
    assert bench.order == ["torque off, gate closed, drive off True"]
    assert not bench.interlock.drive_enabled


def test_without_a_time_for_it_the_contactor_has_to_follow_at_once(line: Any, events: Any) -> None:
    bench = Bench(line, events, feedback=line()).armed()
    assert bench.step(1, LoopState.ENERGISED) == Action.POWER_CUT
    assert list(bench.interlock.latched) == [Cause.FEEDBACK]


def test_without_a_loop_nothing_is_armed(bench: Bench) -> None:
    assert bench.arm() == ["the control loop is not running"]
    bench.beat(LoopState.FAULT)
    assert bench.arm() == ["the control loop reports a fault"]
    assert not bench.powered


def test_every_reason_against_arming_is_told_at_once(bench: Bench) -> None:
    bench.estop.level = False
    assert bench.arm() == [
        "the e-stop is pressed; reset once the cause is gone",
        "the control loop is not running",
    ]


def test_power_is_known_to_be_cut_only_by_a_line_that_obeys(bench: Bench, line: Any, events: Any) -> None:
    assert bench.interlock.power_cut
    bench.armed()
    assert not bench.interlock.power_cut
    bench.drive.stuck = True
    bench.interlock.request_stop(0, "test", bench.now)
    assert not bench.interlock.power_cut
    bench.drive.stuck = False
    bench.step(1000)
    assert bench.interlock.power_cut
    assert not Bench(line, events, drive=False).interlock.power_cut


def test_a_drive_enable_that_cannot_be_driven_active_is_a_latched_fault(bench: Bench) -> None:
    bench.beat()
    bench.drive.stuck = True
    assert bench.arm() == ["drive-enable cannot be driven: the wire is cut"]
    assert not bench.interlock.drive_enabled
    assert not bench.gate.open()
    bench.step(1000)
    assert bench.reset() == ["drive-enable cannot be driven: the wire is cut"]
    bench.drive.stuck = False
    bench.step(1000)
    assert bench.reset() == []
    bench.armed()


def test_a_drive_enable_that_is_gone_cuts_power_through_the_bus(bench: Bench) -> None:
    bench.armed()
    bench.drive.broken = True
    assert bench.step(5, LoopState.ENERGISED) == Action.POWER_CUT
    assert bench.events.names.count("safety.power_cut") == 1
    assert len(bench.order) == 1
    assert not bench.gate.is_open
    assert not bench.interlock.drive_enabled
    assert bench.reset() == ["drive-enable cannot be driven: the wire is cut"]
    bench.drive.broken = False
    bench.step(1000)
    assert bench.drive.history[-1] is False, "it comes back inactive"
    assert bench.reset() == []
    bench.armed()


@pytest.mark.parametrize("cause", [Cause.HEARTBEAT, Cause.WATCHDOG])
def test_another_output_that_fails_cuts_power_and_latches(bench: Bench, cause: Cause) -> None:
    bench.armed()
    bench.interlock.report(cause, "it is broken")
    assert bench.step(5, LoopState.ENERGISED) == Action.TORQUE_OFF
    assert not bench.powered
    assert bench.reset() == ["it is broken"]
    bench.interlock.report(cause, "")
    assert bench.step() == Action.TORQUE_OFF
    assert bench.reset() == []
    bench.armed()


def test_a_drive_enable_that_fails_in_a_stop_does_not_keep_torque_on(bench: Bench) -> None:
    bench.armed()
    bench.drive.stuck = True
    bench.estop.level = False
    bench.step()
    assert not bench.gate.is_open
    assert len(bench.order) == 1
    bench.step()
    assert list(bench.interlock.latched) == [Cause.ESTOP, Cause.DRIVE_ENABLE]


def test_a_gate_that_is_open_against_a_latch_is_closed_again(bench: Bench) -> None:
    bench.armed()
    bench.estop.level = False
    bench.step()
    bench.gate.permit()  # nobody does that; it would be a defect
    bench.gate.open()
    assert bench.step() == Action.TORQUE_OFF
    assert not bench.gate.is_open
    assert bench.gate.reason == "torque off is latched"
    assert len(bench.order) == 2, "and torque is taken off once more"


def test_a_second_cause_is_latched_as_well(bench: Bench) -> None:
    bench.armed()
    bench.step(STALL_MS + 1, beat=None)
    bench.estop.level = False
    bench.step()
    assert list(bench.interlock.latched) == [Cause.STALL, Cause.ESTOP]
    assert len(bench.reset()) == 1
    bench.estop.level = True
    assert bench.reset() == []


def test_shut_leaves_everything_off(bench: Bench) -> None:
    bench.armed()
    bench.interlock.shut("the end")
    assert not bench.powered
    assert bench.order == ["torque off, gate closed, drive off True"]
    bench.interlock.shut("the end")
    assert len(bench.order) == 1


def test_shut_takes_torque_off_whatever_else_fails(line: Any, events: Any) -> None:
    class Defective(line):  # type: ignore[misc]
        def set(self, active: bool) -> None:
            if not active:
                raise RuntimeError("a defect")
            super().set(active)

    bench = Bench(lambda *level: line(*level) if level else Defective(), events).armed()
    bench.interlock.shut("the end")
    assert bench.gate.reason == "the end"
    assert len(bench.order) == 1
    assert not bench.interlock.drive_enabled


def test_shut_survives_a_torque_off_that_raises(line: Any, events: Any) -> None:
    class Raising(Bench):
        def _cut(self) -> list[str]:
            raise RuntimeError("a defect")

    bench = Raising(line, events).armed()
    bench.interlock.shut("the end")
    assert not bench.powered


def test_before_its_first_step_it_gives_no_power_and_says_nothing(bench: Bench) -> None:
    assert (bench.interlock.latched, bench.interlock.standing) == ({}, [])
    assert bench.interlock.orders.last == Orders().last == (Action.NONE, False, 1.0, 0)
    assert bench.interlock.decision == Decision(Action.NONE, (), {}, stopping=False)
    assert bench.interlock.drive_enabled is False
    assert bench.reset() == []
    assert bench.events == []
