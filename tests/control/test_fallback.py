"""A second policy takes over where the plan of the first one has run out, and gives back where it goes on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runtime.control.modes import Mode
from runtime.control.timeline import Timeline
from runtime.policy.chunk import Chunk
from runtime.policy.planner import Planner
from runtime.policy.terms import ActionMap, ActionTerm, ObservationBuilder, ObservationTerm
from tests.control.conftest import ACTION_NS, PERIOD_NS, FakePolicy, World

TOP, DT = 2.0, PERIOD_NS / 1e9


@pytest.fixture
def second(world: World) -> Planner:
    """The fallback of the world's planner: it sees and moves the first joint alone."""
    actions = ActionMap([ActionTerm(target="joint.position", joints=("a",))], ["a", "b"])
    builder = ObservationBuilder(
        [ObservationTerm(source="joint.position", joints=("a",))], ["a", "b"], [], ["vx"], actions.size
    )
    world.planner.fallback = Planner(
        FakePolicy(builder.size),  # type: ignore[arg-type]
        Timeline(2, ACTION_NS, "interpolate"),
        builder,
        actions,
        world.commands,
        [],
        5,
        world.events,
        clock=lambda: world.clock[0],
    )
    return world.planner.fallback


def ramp(world: World, width: int, speed: float) -> Any:
    """Fifty actions that go on from where the robot is, rad."""
    start = world.loop.command[:width]
    return start + speed * ACTION_NS / 1e9 * np.arange(50)[:, None]


def run(world: World, ticks: int, first: bool, second: Planner | None = None) -> None:
    """The policies answer as far as they are said to: the first at 0.5 rad/s, the second back at 0.2 rad/s."""
    for _ in range(ticks):
        world.tick()
        if world.policy.busy and first:
            world.answer(ramp(world, 2, 0.5))
        if second is not None and second.policy.busy:
            second.policy.busy = False
            asked = second.policy.asked  # type: ignore[attr-defined]
            second.lay(Chunk(asked[-1], ramp(world, 1, -0.2), 0, len(asked)))


def names(world: World) -> list[str]:
    return [event.name for event in world.events.recent if event.name.startswith("policy.")]


def start(world: World) -> None:
    world.arm()
    world.loop.start_auto()
    run(world, 50, first=True)
    assert world.loop.command[0] > 0.1


def test_it_takes_over_at_the_end_of_the_plan_and_gives_back(world: World, second: Planner) -> None:
    start(world)
    assert second.policy.asked == [], "it is not asked before"  # type: ignore[attr-defined]
    run(world, 200, first=False, second=second)
    assert names(world) == ["policy.starved", "policy.fallback"]
    assert world.planner.falls_back
    assert not world.planner.starved
    assert world.planner.starved_ticks <= 2, "the time of its first answer"
    sent = np.array([c for c in world.bus.commands if c is not None])
    assert (np.diff(sent[-50:, 0]) < 0).all(), "it moves its joint"
    assert np.ptp(sent[-50:, 1]) == pytest.approx(0.0), "and the other stays where it was"
    assert sent[-1, 1] == pytest.approx(sent[:, 1].max(), abs=0.06)
    world.policy.busy = False
    world.tick(2)
    run(world, 100, first=True, second=second)
    assert names(world) == ["policy.starved", "policy.fallback", "policy.recovered"]
    assert not world.planner.falls_back
    assert second.timeline.empty
    sent = np.array([c for c in world.bus.commands if c is not None])
    assert (np.diff(sent[-50:, 0]) > 0).all()
    steps = np.diff(sent, axis=0)
    assert np.abs(steps).max() <= TOP * DT + 1e-9
    assert np.abs(np.diff(steps, axis=0)).max() <= 20 * DT**2 + 1e-9, "along the envelope at both seams"
    assert world.loop.modes.mode == Mode.AUTO


def test_when_it_has_no_plan_either_the_robot_holds(world: World, second: Planner) -> None:
    start(world)
    run(world, 200, first=False, second=second)
    run(world, 200, first=False)
    assert world.planner.starved
    stood = world.sent().copy()
    run(world, 50, first=False)
    assert world.sent() == pytest.approx(stood)
    assert world.loop.modes.mode == Mode.AUTO


def test_an_answer_to_what_was_asked_before_it_gave_back_is_dropped(world: World, second: Planner) -> None:
    start(world)
    run(world, 200, first=False, second=second)
    while not second.policy.busy:
        world.tick()
    asked = second.policy.asked[-1]  # type: ignore[attr-defined]
    world.policy.busy = False
    run(world, 50, first=True)
    assert not world.planner.falls_back
    run(world, 120, first=False)
    second.policy.busy = False
    second.lay(Chunk(asked, np.full((50, 1), -2.0), 0, 1))
    assert second.timeline.empty


def test_one_that_is_not_ready_is_a_hold(world: World, second: Planner) -> None:
    second.policy.ready = False
    start(world)
    run(world, 200, first=False, second=second)
    assert names(world) == ["policy.starved"]
    assert world.planner.starved


def test_a_stop_ends_it_and_a_new_run_begins_with_the_first(world: World, second: Planner) -> None:
    start(world)
    run(world, 200, first=False, second=second)
    world.loop.stop(Mode.HOLD)
    run(world, 30, first=False, second=second)
    assert world.loop.modes.mode == Mode.HOLD
    assert second.timeline.empty
    stood = world.sent().copy()
    asked = len(second.policy.asked)  # type: ignore[attr-defined]
    world.loop.start_auto()
    world.policy.busy = True
    run(world, 50, first=False, second=second)
    assert world.sent() == pytest.approx(stood), "nobody has a plan yet"
    assert len(second.policy.asked) == asked  # type: ignore[attr-defined]
    assert not world.planner.falls_back
