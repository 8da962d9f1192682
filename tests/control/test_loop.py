from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from runtime.control.modes import Mode, ModeError
from safety.beat import LoopState

P = 10_000_000


def ramp(rows: int, start: float = 0.0, step: float = 0.01) -> Any:
    return np.repeat((start + step * np.arange(rows))[:, None], 2, axis=1)


def test_nothing_is_commanded_before_arming(world: Any) -> None:
    world.loop.modes.mode = Mode.STANDBY
    world.tick(5)
    assert world.bus.commands == [None] * 5, "motors are asked, never commanded"
    assert world.heartbeat.last.tick == 5
    assert world.heartbeat.last.state == 0


def test_a_closed_gate_stops_every_command_in_the_same_tick(world: Any) -> None:
    world.arm()
    world.tick()
    assert world.bus.commands[-1] is not None
    world.gate.close("e-stop")
    world.tick()
    assert world.bus.commands[-1] is None
    assert world.loop.modes.mode == Mode.ESTOP
    assert world.powered_off == [Mode.ESTOP]
    world.cut_mode[0] = Mode.FAULT
    world.tick(3)
    assert world.powered_off == [Mode.ESTOP], "told once"


def test_arming_holds_the_measured_position_and_forgets_old_chunks(world: Any) -> None:
    world.bus._angles = np.array([0.7, -0.3])
    world.arm()
    world.tick(5)
    assert world.sent() == pytest.approx([0.7, -0.3])
    world.loop.start_auto()
    world.tick()
    world.answer(ramp(50, 0.7))
    world.tick(5)
    world.loop.stop(Mode.HOLD)
    world.tick(50)
    held = world.sent().copy()
    assert world.loop.modes.mode == Mode.HOLD
    world.loop.start_auto()
    world.tick(3)
    assert world.sent() == pytest.approx(held), "the old plan is gone"


def test_from_standstill_the_first_action_executed_is_the_first_of_the_chunk(world: Any) -> None:
    world.arm()
    world.loop.start_auto()
    world.tick(10)
    arrived_ns = world.clock[0]
    world.answer(ramp(50, step=0.001))
    world.tick(20)
    due = (world.number * P - arrived_ns) / 2e7 * 0.001
    assert world.sent() == pytest.approx([due, due], abs=1e-9)
    assert world.planner.starved_ticks == 0, "waiting for the first chunk is not starving"


def test_a_chunk_that_comes_late_goes_on_from_the_action_that_is_due(world: Any) -> None:
    world.arm()
    world.loop.start_auto()
    world.tick()
    world.answer(ramp(50, step=0.001))
    world.tick(12)
    asked_ns = world.policy.asked[-1]
    assert len(world.policy.asked) == 2
    world.tick(15)
    world.answer(ramp(50, start=0.005, step=0.001))
    world.tick(25)
    due = 0.005 + (world.number * P - asked_ns) / 2e7 * 0.001
    assert world.sent() == pytest.approx([due, due], abs=1e-9)


def test_requests_keep_their_phase_and_one_is_open_at_a_time(world: Any) -> None:
    world.arm()
    world.loop.start_auto()
    world.tick()
    world.tick(12)
    assert len(world.policy.asked) == 1, "busy"
    world.answer(ramp(50))
    world.tick(3)
    world.answer(ramp(50))
    world.tick(20)
    asked = [(t - world.policy.asked[0]) // P for t in world.policy.asked]
    assert asked == [0, 13, 19], "every 5 actions of 20 ms since the start (one tick before); late once"


def test_starvation_ramps_to_a_stop_counts_and_recovers(world: Any) -> None:
    world.arm()
    world.loop.start_auto()
    world.tick()
    world.answer(ramp(10, step=0.02))
    world.tick(60)
    assert world.planner.starved
    assert world.planner.starved_ticks > 20
    assert [e.name for e in world.events.recent].count("policy.starved") == 1, "said once"
    assert world.loop.modes.mode == Mode.AUTO, "the run goes on"
    rest = world.sent().copy()
    world.tick(10)
    assert world.sent() == pytest.approx(rest), "it stands"
    moves = np.diff([c[0] for c in world.bus.commands if c is not None])
    assert moves.min() >= -1e-9, "it ramps to a stop and never turns back"
    assert np.abs(np.diff(moves)).max() <= 20 * 0.01**2 + 1e-9
    world.answer(ramp(50, rest[0]), t0_ns=world.clock[0])
    world.tick(3)
    assert not world.planner.starved
    assert "policy.recovered" in world.events.counts


def test_stop_ramps_within_the_acceleration_then_holds(world: Any) -> None:
    world.arm()
    world.loop.start_auto()
    world.tick()
    world.answer(ramp(50, step=0.02))
    world.tick(30)
    world.loop.stop(Mode.HOLD)
    world.tick(40)
    assert world.loop.modes.mode == Mode.HOLD
    moves = np.diff([c[0] for c in world.bus.commands if c is not None])
    assert moves.min() >= -1e-9
    assert np.abs(np.diff(moves)).max() <= 20 * 0.01**2 + 1e-9
    assert world.powered_off == []
    assert world.heartbeat.last.state == LoopState.ENERGISED | LoopState.HOLDING


def test_disarm_ramps_then_asks_for_power_off(world: Any) -> None:
    world.arm()
    world.loop.move({0: 1.0})
    world.tick(20)
    world.loop.stop(Mode.STANDBY)
    assert world.powered_off == []
    world.tick(60)
    assert world.loop.modes.mode == Mode.STANDBY
    assert world.powered_off == [Mode.STANDBY]


def test_a_silent_joint_ages_then_is_a_fault_with_all_facts(world: Any) -> None:
    world.arm()
    world.tick(3)
    world.bus.silent = {1}
    world.tick(2)
    assert world.loop.modes.mode == Mode.HOLD, "two losses are no fault yet"
    world.tick(40)
    assert world.loop.modes.mode == Mode.FAULT
    lost = [e for e in world.events.recent if e.name == "joint.lost"]
    assert len(lost) == 1
    assert lost[0].fields["joint"] == "b"
    assert (lost[0].fields["bus"], lost[0].fields["id"], lost[0].fields["missed"]) == ("arm", 2, 3)
    assert lost[0].fields["last_good_s"] == pytest.approx(0.04)
    tick = lost[0].fields["tick"]
    modes = {record["tick"]: record["mode"] for record in world.recorded()}
    assert (modes[tick - 1], modes[tick]) == (Mode.HOLD, Mode.FAULT), "in the tick that finds it"
    assert world.powered_off == [Mode.FAULT]


def test_a_motors_error_code_is_a_fault_in_words(world: Any) -> None:
    world.arm()
    world.loop.move({0: 1.0})
    world.tick(10)
    world.state.fault[0] = 9
    world.tick()
    assert world.heartbeat.last.state & LoopState.FAULT
    world.tick(30)
    assert world.loop.modes.mode == Mode.FAULT
    fault = next(e for e in world.events.recent if e.name == "joint.fault")
    assert "joint a (bus arm, id 1): code 9" in fault.message


def test_nan_from_a_policy_never_reaches_a_motor(world: Any) -> None:
    world.arm()
    world.loop.start_auto()
    world.tick()
    world.answer(np.full((50, 2), math.nan))
    world.tick(20)
    assert all(np.isfinite(c).all() for c in world.bus.commands if c is not None)


def test_manual_moves_only_the_named_joint_inside_the_envelope(world: Any) -> None:
    world.arm()
    world.loop.move({1: 0.5})
    world.tick(100)
    assert world.loop.modes.mode == Mode.MANUAL
    assert world.sent() == pytest.approx([0.0, 0.5], abs=1e-6)
    moves = np.diff([c[1] for c in world.bus.commands if c is not None])
    assert np.abs(moves).max() <= 2 * 0.01 + 1e-9
    with pytest.raises(ModeError):
        world.loop.modes.request("arm")


def test_the_schedule_sets_commands_while_the_policy_runs(world: Any) -> None:
    world.arm()
    world.loop.start_auto()
    world.tick(10)
    assert world.commands.as_dict() == {"vx": 0.0}
    world.tick(60)
    assert world.commands.as_dict() == {"vx": 0.7}


def test_an_incomplete_observation_is_not_sent(world: Any) -> None:
    world.arm()
    world.loop.start_auto()
    world.state.position[0] = math.nan
    world.bus.silent = {0}
    world.tick()
    assert world.policy.asked == []
    assert "policy.blind" in world.events.counts


def test_a_busy_bus_is_left_alone(world: Any) -> None:
    world.loop.modes.mode = Mode.STANDBY
    world.bus.busy = True
    world.tick(3)
    assert world.bus.commands == []


def test_every_tick_is_in_the_trace(world: Any) -> None:
    world.arm()
    world.tick(2)
    rows = world.recorded()
    assert rows["tick"].tolist() == [1, 2, 3, 4, 5]
    assert rows["mode"].tolist()[-1] == Mode.HOLD
    assert rows["gate"].tolist() == [0, 0, 0, 1, 1]
    assert np.allclose(rows["joints"]["command"][-1], world.sent())
