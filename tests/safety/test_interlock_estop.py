"""What the e-stop does to power: pressed, let go, gone, back."""

from __future__ import annotations

from safety.action import Action
from safety.decide import Cause
from tests.interlock_bench import Bench


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


def test_an_emergency_stop_by_software_latches(bench: Bench) -> None:
    bench.armed()
    bench.interlock.request_stop(0, "asked by an operator", bench.now)
    assert not bench.powered
    assert list(bench.interlock.latched.values()) == ["emergency stop: asked by an operator"]
    assert bench.step() == Action.TORQUE_OFF
    assert len(bench.order) == 1
    assert bench.reset() == []
    assert bench.step() == Action.NONE
