"""What is told of a stop: its causes, what was seen before it, and how it ended."""

from __future__ import annotations

from typing import Any

from safety.action import Action
from safety.beat import LoopState
from safety.decide import Cause
from tests.interlock_bench import MS, STALL_MS, TIMEOUT_MS, Bench


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


def test_two_stops_at_once_are_one_for_the_loop(bench: Bench) -> None:
    bench.armed()
    bench.beat(LoopState.ENERGISED | LoopState.FAULT)
    bench.interlock.request_stop(1, "asked by an operator", bench.now)
    both = "the control loop reports a fault; stop requested: asked by an operator"
    assert told(bench.events)[1:] == [("safety.stop", f"{both}: the loop has to stop the robot", "error")]


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
