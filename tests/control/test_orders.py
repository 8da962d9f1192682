"""The loop does what the safety task orders, in the tick that reads it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runtime.control.modes import Mode
from safety.action import Action
from safety.beat import LoopState
from safety.order import Order

TOP, BRAKE, DT = 2.0, 20.0, 0.01
"""Of the joints in conftest: rad/s, rad/s^2; the period, s."""


def moves(world: Any) -> Any:
    """Steps of the first joint's commands, rad."""
    return np.diff([command[0] for command in world.bus.commands if command is not None])


@pytest.fixture
def moving(world: Any) -> Any:
    world.cut_mode[0] = Mode.FAULT
    world.arm()
    world.loop.move({0: 1.5})
    world.tick(20)
    assert moves(world)[-1] == pytest.approx(TOP * DT)
    return world


def test_slow_lowers_the_top_speed_along_the_acceleration_and_back(moving: Any) -> None:
    moving.order(Action.SLOW, speed=0.25)
    moving.tick(30)
    assert moving.loop.modes.mode == Mode.MANUAL, "the motion goes on"
    assert moves(moving)[-1] == pytest.approx(0.25 * TOP * DT)
    moving.order(Action.NONE)
    moving.tick(20)
    assert moves(moving)[-1] == pytest.approx(TOP * DT)
    assert np.abs(np.diff(moves(moving))).max() <= BRAKE * DT**2 + 1e-12
    moving.tick(100)
    assert moving.sent()[0] == pytest.approx(1.5), "and arrives"


def test_an_order_that_goes_away_leaves_the_speed_that_is_allowed(moving: Any) -> None:
    moving.loop.limit(0.5)
    for speed, top in ((1.0, 0.5), (0.25, 0.25), (1.0, 0.5), (0.75, 0.5)):
        moving.order(Action.NONE if speed == 1.0 else Action.SLOW, speed=speed)
        moving.tick(15)
        assert moves(moving)[-1] == pytest.approx(top * TOP * DT)


def test_what_is_allowed_is_told_to_the_buses(moving: Any) -> None:
    moving.loop.limit(0.5)
    assert moving.bus.torque_part == 0.5


@pytest.mark.parametrize(
    ("action", "latched", "end"),
    [
        (Action.HOLD, False, Mode.HOLD),
        (Action.HOLD, True, Mode.HELD),
        (Action.CONTROLLED_STOP, False, Mode.STANDBY),
        (Action.CONTROLLED_STOP, True, Mode.FAULT),
    ],
)
def test_a_controlled_stop_ramps_down_and_ends_as_ordered(
    moving: Any, action: Action, latched: bool, end: Mode
) -> None:
    moving.order(action, latched)
    moving.tick()
    assert moving.loop.modes.mode == Mode.STOPPING, "in the same tick"
    moving.tick(20)
    assert moving.loop.modes.mode == end
    steps = moves(moving)
    assert steps.min() >= -1e-12
    assert np.abs(np.diff(steps)).max() <= BRAKE * DT**2 + 1e-12
    if end in (Mode.HOLD, Mode.HELD):
        assert moving.powered_off == []
        assert moving.heartbeat.last.state == LoopState.ENERGISED | LoopState.HOLDING
        assert moving.bus.commands[-1] is not None
    else:
        assert moving.powered_off == [end]
        assert moving.bus.commands[-1] is None


def test_the_end_of_a_stop_tells_how_soon_it_began_how_long_it_took_and_how_far(moving: Any) -> None:
    seen_ns = moving.clock[0] + 4_000_000
    moving.orders.last = Order(Action.CONTROLLED_STOP, latched=True, speed=1.0, seen_ns=seen_ns)
    moving.tick(2)
    moving.order(Action.HOLD)  # weaker, and changes nothing
    moving.tick(20)
    [stopped] = [event for event in moving.events.recent if event.name == "robot.stopped"]
    fields = stopped.fields
    assert fields["category"] == 1
    assert fields["reaction_ms"] == 6.0, "from the sight to the tick that obeys"
    assert fields["duration_s"] == pytest.approx(TOP / BRAKE, abs=2 * DT)
    assert fields["joint"] == "a"
    assert fields["distance_rad"] == pytest.approx(TOP**2 / BRAKE / 2, abs=2 * TOP * DT)


def test_a_stop_that_nobody_has_ordered_has_no_reaction(moving: Any) -> None:
    moving.loop.stop(Mode.HOLD)
    moving.tick(20)
    [stopped] = [event for event in moving.events.recent if event.name == "robot.stopped"]
    assert "reaction_ms" not in stopped.fields
    assert stopped.fields["category"] == 2


def test_an_order_that_goes_away_does_not_take_back_the_stop(moving: Any) -> None:
    moving.order(Action.CONTROLLED_STOP)
    moving.tick(2)
    moving.order(Action.NONE)
    moving.tick(20)
    assert moving.loop.modes.mode == Mode.STANDBY


def test_a_stop_under_way_is_raised_by_the_next_order_and_never_lowered(moving: Any) -> None:
    for action, latched in ((Action.HOLD, False), (Action.CONTROLLED_STOP, False), (Action.HOLD, True)):
        moving.order(action, latched)
        moving.tick()
    assert moving.loop.modes.after_stop == Mode.FAULT
    moving.order(Action.HOLD)
    moving.tick(20)
    assert moving.loop.modes.mode == Mode.FAULT


def test_nothing_moves_while_a_hold_stands(moving: Any) -> None:
    moving.order(Action.HOLD)
    moving.tick(30)
    rest = moving.sent().copy()
    moving.loop.start_auto()
    moving.tick(5)
    assert moving.loop.modes.mode == Mode.HOLD
    moving.loop.move({0: -1.0})
    moving.tick(5)
    assert moving.loop.modes.mode == Mode.HOLD
    assert moving.sent() == pytest.approx(rest)
    moving.order(Action.NONE)
    moving.tick(5)
    assert moving.sent() == pytest.approx(rest), "and nothing goes on by itself"


def test_what_is_held_is_left_by_a_release_only(moving: Any) -> None:
    moving.order(Action.HOLD, latched=True)
    moving.tick(30)
    moving.order(Action.NONE)
    moving.tick(30)
    assert moving.loop.modes.mode == Mode.HELD
    moving.loop.release()
    moving.tick()
    assert moving.loop.modes.mode == Mode.HOLD


def test_disarming_a_held_robot_leaves_the_latch(moving: Any) -> None:
    moving.order(Action.HOLD, latched=True)
    moving.tick(30)
    moving.loop.stop(Mode.STANDBY)
    moving.tick(2)
    assert moving.loop.modes.mode == Mode.FAULT
    assert moving.powered_off == [Mode.FAULT]


@pytest.mark.parametrize("action", [Action.HOLD, Action.CONTROLLED_STOP, Action.TORQUE_OFF, Action.POWER_CUT])
def test_a_stop_that_is_latched_in_standby_is_shown_as_its_mode(world: Any, action: Action) -> None:
    world.loop.modes.mode = Mode.STANDBY
    world.order(action)
    world.tick()
    assert world.loop.modes.mode == Mode.STANDBY, "not latched"
    world.cut_mode[0] = Mode.FAULT
    world.order(action, latched=True)
    world.tick()
    assert world.loop.modes.mode == Mode.FAULT
    world.cut_mode[0] = Mode.ESTOP
    world.tick()
    assert world.loop.modes.mode == Mode.ESTOP, "the e-stop came later"
    assert world.powered_off == [], "there was no power"


def test_before_the_motors_are_found_the_mode_is_off(world: Any) -> None:
    world.order(Action.TORQUE_OFF, latched=True)
    world.tick()
    assert world.loop.modes.mode == Mode.OFF


def test_a_fault_of_another_joint_keeps_the_torque_on_one_that_would_fall(world_that_holds: Any) -> None:
    world = world_that_holds
    world.arm()
    world.loop.move({0: 1.0})
    world.tick(10)
    world.state.fault[0] = 9
    world.tick()
    assert world.heartbeat.last.state & LoopState.FAULT
    world.tick(15)
    assert world.heartbeat.last.state == LoopState.ENERGISED | LoopState.HOLDING
    assert world.loop.modes.mode == Mode.HELD
    assert world.powered_off == []
    assert world.sent() is not None
    assert [event.name for event in world.events.recent].count("joint.fault") == 1
    world.state.fault[1] = 9
    world.tick(5)
    assert world.loop.modes.mode == Mode.FAULT, "now the one that would fall has failed itself"
    assert [event.name for event in world.events.recent].count("joint.fault") == 2
    assert world.powered_off == [Mode.FAULT]


def test_a_released_robot_is_stopped_again_by_the_fault_that_still_stands(world_that_holds: Any) -> None:
    world = world_that_holds
    world.arm()
    world.state.fault[0] = 9
    world.tick(5)
    world.loop.release()
    world.tick(5)
    assert world.loop.modes.mode == Mode.HELD


def test_a_joint_that_would_fall_and_fails_itself_loses_its_torque(world_that_holds: Any) -> None:
    world = world_that_holds
    world.arm()
    world.bus.silent = {1}
    world.tick(10)
    assert world.loop.modes.mode == Mode.FAULT
    assert world.powered_off == [Mode.FAULT]
