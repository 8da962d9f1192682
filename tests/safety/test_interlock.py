from __future__ import annotations

from typing import Any

import pytest

from safety.action import Action
from safety.beat import LoopState
from safety.decide import Cause, Decision
from safety.order import Orders
from safety.watch import Clear, Flag
from tests.interlock_bench import MS, STALL_MS, TIMEOUT_MS, Bench


@pytest.fixture
def bench(line: Any, events: Any) -> Bench:
    return Bench(line, events)


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


def test_the_estop_cuts_power_in_order_and_latches(bench: Bench) -> None:
    bench.armed()
    bench.estop.level = False
    assert bench.step() == Action.TORQUE_OFF
    assert bench.order == ["torque off, gate closed, drive off True"]
    assert not bench.powered
    assert bench.interlock.estop_state == "pressed"
    assert bench.gate.reason == "the e-stop is pressed"
    [fields] = bench.events.named("safety.torque_off")
    assert fields["causes"] == ["estop"]
    assert fields["reaction_us"] >= 0


def test_a_stop_tells_what_was_seen_before_it(bench: Bench) -> None:
    bench.armed()
    bench.heartbeat.beat(77, bench.now, LoopState.ENERGISED | LoopState.HOLDING)
    bench.now += STALL_MS * MS + 1
    bench.interlock.step(bench.now, estop_edge=True)
    bench.estop.level = False
    bench.heartbeat.finish()
    bench.drive.broken = True
    bench.interlock.step(bench.now)
    first, second = bench.events.named("safety.torque_off")
    for fields in (first, second):
        assert 0 <= fields.pop("reaction_us") <= fields.pop("torque_off_us")
    assert sorted(first.pop("causes")) == ["estop", "stall"]
    assert first == {
        "category": 0,
        "estop": "pressed",  # and let go again
        "armed": True,
        "gate_open": True,
        "loop": "energised|holding",
        "tick": 77,
        "beat_age_ms": STALL_MS + 1 / MS,
    }
    assert second == {
        "causes": ["drive_enable"],
        "category": 0,
        "estop": "pressed",
        "armed": False,
        "gate_open": False,
        "loop": "none",
        "tick": None,
        "beat_age_ms": None,
    }


def test_letting_the_estop_go_does_not_clear_it(bench: Bench) -> None:
    bench.armed()
    bench.estop.level = False
    bench.step()
    assert bench.reset() == ["the e-stop is pressed"]
    bench.estop.level = True
    assert bench.step() == Action.TORQUE_OFF
    assert bench.interlock.estop_state == "released"
    assert bench.arm() == ["the e-stop is pressed; reset once the cause is gone"]
    assert not bench.powered
    assert bench.reset() == []
    assert not bench.powered, "a reset never gives power back"
    assert not bench.gate.open()
    assert bench.step() == Action.NONE
    bench.armed()


def test_a_short_press_between_two_readings_counts(bench: Bench) -> None:
    bench.armed()
    assert bench.interlock.step(bench.now, estop_edge=True).action == Action.TORQUE_OFF
    assert not bench.powered
    assert bench.interlock.estop_state == "released"
    assert bench.reset() == []


def test_the_edge_of_a_release_is_no_press(bench: Bench) -> None:
    bench.step()
    bench.estop.level = False
    bench.step()
    bench.estop.level = True
    assert Cause.ESTOP not in [reason.cause for reason in bench.interlock.step(bench.now, estop_edge=True).reasons]
    assert bench.reset() == []


def test_an_estop_line_that_is_gone_is_pressed_until_it_is_back_and_reset(bench: Bench) -> None:
    bench.armed()
    bench.estop.broken = True
    assert bench.step() == Action.TORQUE_OFF
    assert not bench.powered
    assert bench.events.names[-1] == "safety.line_lost"
    assert bench.estop.closed, "or its chip would come back under another number"
    assert bench.reset() == ["the e-stop line is gone: the wire is cut"]
    bench.step(1000)
    assert bench.reset() == ["the e-stop line is gone: there is no such chip"]
    bench.estop.broken = False
    bench.step(999)
    assert bench.reset() == ["the e-stop line is gone: there is no such chip"]
    bench.step(1)
    assert bench.events.names[-1] == "safety.line_back"
    assert bench.interlock.estop_state == "pressed", "it was not read since"
    assert bench.step() == Action.TORQUE_OFF
    assert bench.interlock.estop_state == "released"
    assert not bench.powered
    assert bench.reset() == []
    bench.armed()


def test_an_estop_line_that_comes_back_pressed_is_pressed(bench: Bench) -> None:
    bench.estop.broken = True
    bench.step()
    bench.estop.broken, bench.estop.level = False, False
    bench.step(1000)
    bench.step()
    assert bench.reset() == ["the e-stop is pressed"]


def test_a_line_that_is_gone_is_tried_once_a_second_and_told_once(bench: Bench) -> None:
    bench.estop.broken = bench.drive.broken = True
    for _ in range(1000):
        bench.step(5)
    assert bench.estop.tries == bench.drive.tries == 4
    assert bench.events.names.count("safety.line_lost") == 2


def test_a_robot_without_estop_and_drive_enable(line: Any, events: Any) -> None:
    bench = Bench(line, events, estop=False, drive=False).armed()
    assert bench.interlock.estop_state == "none"
    assert bench.run(100) == [Action.NONE] * 20
    assert bench.step(STALL_MS + 1, beat=None) == Action.TORQUE_OFF
    assert bench.order == ["torque off, gate closed, drive off True"]
    assert not bench.interlock.drive_enabled


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


def test_an_emergency_stop_by_software_latches(bench: Bench) -> None:
    bench.armed()
    bench.interlock.request_stop(0, "asked by an operator", bench.now)
    assert not bench.powered
    assert list(bench.interlock.latched.values()) == ["emergency stop: asked by an operator"]
    assert bench.step() == Action.TORQUE_OFF
    assert len(bench.order) == 1
    assert bench.reset() == []
    assert bench.step() == Action.NONE


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


def test_a_fault_of_the_loop_is_escalated_when_its_stop_takes_too_long(bench: Bench) -> None:
    bench.armed()
    assert set(bench.run(TIMEOUT_MS, LoopState.ENERGISED | LoopState.FAULT)) == {Action.CONTROLLED_STOP}
    assert bench.powered
    bench.run(10, LoopState.ENERGISED | LoopState.FAULT)
    assert not bench.powered
    assert list(bench.interlock.latched) == [Cause.STOP_OVERDUE]


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


def test_a_loop_that_does_nothing_is_told_as_idle(bench: Bench) -> None:
    bench.estop.level = False
    bench.step()
    [fields] = bench.events.named("safety.torque_off")
    assert (fields["loop"], fields["armed"], fields["beat_age_ms"]) == ("idle", False, 0.0)


def test_two_causes_at_once_are_told_together(bench: Bench) -> None:
    bench.armed()
    bench.estop.level = False
    bench.step(STALL_MS + 1, beat=None)
    stalled = "the control loop has not run for 21.0 ms, 20 ms are allowed"
    assert bench.gate.reason == f"the e-stop is pressed; {stalled}"


def test_a_second_cause_is_latched_as_well(bench: Bench) -> None:
    bench.armed()
    bench.step(STALL_MS + 1, beat=None)
    bench.estop.level = False
    bench.step()
    assert list(bench.interlock.latched) == [Cause.STALL, Cause.ESTOP]
    assert len(bench.reset()) == 1
    bench.estop.level = True
    assert bench.reset() == []


def test_what_went_wrong_with_torque_off_is_told(bench: Bench) -> None:
    bench.armed()
    bench.problems = ["torque-off of left raised OSError: no buffer space", "torque-off of right has not returned"]
    bench.interlock.request_stop(0, "test", bench.now)
    assert [event for event in told(bench.events) if event[0] == "safety.torque_off_failed"] == [
        ("safety.torque_off_failed", problem, "error") for problem in bench.problems
    ]
    assert bench.step() == Action.POWER_CUT, "hardware has to take the power"
    assert len(bench.order) == 1
    assert list(bench.interlock.latched) == [Cause.ESTOP_REQUEST, Cause.TORQUE_OFF_FAILED]
    assert bench.interlock.latched[Cause.TORQUE_OFF_FAILED] == "; ".join(bench.problems)
    assert bench.reset() == []
    assert bench.step() == Action.NONE


def test_a_listener_that_raises_harms_nobody(line: Any) -> None:
    def listener(*event: object) -> None:
        raise RuntimeError("disk full")

    bench = Bench(line, listener).armed()
    bench.estop.level = False
    assert bench.step() == Action.TORQUE_OFF
    assert not bench.powered


def test_shut_leaves_everything_off(bench: Bench) -> None:
    bench.armed()
    bench.interlock.shut("the end")
    assert not bench.powered
    assert bench.order == ["torque off, gate closed, drive off True"]
    bench.interlock.shut("the end")
    assert len(bench.order) == 1


def told(events: Any) -> list[tuple[str, str, str]]:
    return [event[:3] for event in events]


def test_what_is_told_of_a_press_from_arming_to_disarming(line: Any, events: Any) -> None:
    class SlowLine(line):  # type: ignore[misc]
        """An output that takes 20 us to become inactive."""

        def set(self, active: bool) -> None:
            super().set(active)
            bench.now += 0 if active else 20_000

    class SlowBench(Bench):
        """Its torque off takes 30 us."""

        def _cut(self) -> list[str]:
            self.now += 30_000
            return super()._cut()

    bench = SlowBench(SlowLine, events)
    bench.armed()
    bench.estop.level = False
    bench.step()
    assert bench.gate.reason == "the e-stop is pressed"
    bench.estop.level = True
    bench.step()
    bench.reset()
    bench.armed()
    bench.interlock.disarm(bench.now)
    assert bench.gate.reason == "disarmed"
    armed = ("safety.armed", "drive-enable is active: motors may be energised", "info")
    assert told(events) == [
        armed,
        (
            "safety.torque_off",
            "the e-stop is pressed: drive-enable off after 20 us, torque off after 50 us",
            "error",
        ),
        ("safety.estop_released", "the e-stop is released; it stays latched until reset", "info"),
        ("safety.reset", "what was latched is reset; no power is given back", "info"),
        armed,
        ("safety.disarmed", "drive-enable is inactive", "info"),
    ]
    [fields] = events.named("safety.torque_off")
    assert (fields["reaction_us"], fields["torque_off_us"]) == (20.0, 50.0)


def test_a_stop_that_is_the_loop_s_to_make_is_told_once_for_each_cause(bench: Bench) -> None:
    bench.armed()
    bench.interlock.request_stop(2, "asked by an operator", bench.now)
    bench.run(100, LoopState.ENERGISED | LoopState.FAULT)
    asked, fault = "stop requested: asked by an operator", "the control loop reports a fault"
    assert bench.interlock.standing == [fault, asked]
    assert told(bench.events)[1:] == [
        ("safety.stop", f"{asked}: the loop has to stop the robot", "error"),
        ("safety.stop", f"{fault}: the loop has to stop the robot", "error"),
    ]
    told_of = [(fields["causes"], fields["category"]) for fields in bench.events.named("safety.stop")]
    assert told_of == [(["stop_request"], 2), (["loop_fault"], 1)]


def test_two_stops_at_once_are_one_for_the_loop(bench: Bench) -> None:
    bench.armed()
    bench.beat(LoopState.ENERGISED | LoopState.FAULT)
    bench.interlock.request_stop(1, "asked by an operator", bench.now)
    both = "the control loop reports a fault; stop requested: asked by an operator"
    assert told(bench.events)[1:] == [("safety.stop", f"{both}: the loop has to stop the robot", "error")]


def test_a_stop_that_comes_too_late_for_the_loop_is_not_told_as_the_loop_s(bench: Bench) -> None:
    bench.armed()
    bench.estop.level = False
    bench.step(5, LoopState.ENERGISED | LoopState.FAULT)
    assert bench.events.names == ["safety.armed", "safety.torque_off"]


def test_what_only_warns_is_told_once(bench: Bench) -> None:
    bench.step(0, LoopState.FAULT)
    bench.step(5, LoopState.FAULT)
    assert told(bench.events) == [("safety.loop_fault", "the control loop reports a fault", "warning")]
    assert bench.events.named("safety.loop_fault") == [{"action": "warn", "tick": 0}]


def test_power_that_hardware_has_to_cut_is_told_as_an_error(bench: Bench) -> None:
    bench.armed()
    bench.drive.broken = True
    bench.step(5, LoopState.ENERGISED)
    bench.step(5)
    cut = "the heartbeat line rests: the relay behind it has to cut power"
    assert [event for event in told(bench.events) if event[0] == "safety.power_cut"] == [
        ("safety.power_cut", cut, "error")
    ]


def test_a_drive_enable_line_that_is_lost_is_told_by_its_name(bench: Bench) -> None:
    bench.armed()
    bench.drive.broken = True
    bench.step(5, LoopState.ENERGISED)
    assert told(bench.events)[-1] == (
        "safety.line_lost",
        "the drive-enable line is gone: the wire is cut; it is tried again every 1 s",
        "error",
    )


def test_a_stop_that_took_too_long_is_told_with_its_time_and_bars_arming(bench: Bench) -> None:
    bench.armed()
    bench.interlock.request_stop(1, "asked by an operator", bench.now)
    bench.run(TIMEOUT_MS + 5)
    overdue = "the control loop has not finished a stop within 1 s"
    assert list(bench.interlock.latched.values()) == [overdue]
    bench.step()
    assert bench.arm() == [f"{overdue}; reset once the cause is gone"]


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


def test_unless_it_is_told_otherwise_a_slowed_joint_uses_a_quarter_of_its_speed(line: Any, events: Any) -> None:
    class Near:
        def look(self, now_ns: int) -> list[Flag]:
            return [Flag("near", Action.SLOW, Clear.GONE, "somebody is near")]

    bench = Bench(line, events, watches=[Near()]).armed()
    bench.step()
    assert bench.interlock.orders.last[:3] == (Action.SLOW, False, 0.25)


def test_before_its_first_step_it_gives_no_power_and_says_nothing(bench: Bench) -> None:
    assert (bench.interlock.latched, bench.interlock.standing) == ({}, [])
    assert bench.interlock.orders.last == Orders().last == (Action.NONE, False, 1.0, 0)
    assert bench.interlock.decision == Decision(Action.NONE, (), {}, stopping=False)
    assert bench.interlock.drive_enabled is False
    assert bench.reset() == []
    assert bench.events == []
