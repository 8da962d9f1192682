"""A second policy takes over where the first one is silent, without a pause, and gives back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runtime.control.modes import Mode
from runtime.policy.chunk import Chunk
from runtime.policy.handover import Handover
from runtime.policy.source import Source
from tests.control.conftest import ACTION_NS, PERIOD_NS, FakePolicy, World, build

TOP, DT = 2.0, PERIOD_NS / 1e9
S = 1_000_000_000
PLAN = 100
"""Ticks that a plan of 50 actions lasts."""


@pytest.fixture
def world() -> World:
    return build(handover=Handover(None, 0, S))


def fallback(world: World) -> Source:
    assert world.planner.fallback is not None
    return world.planner.fallback


def asked(world: World) -> list[int]:
    policy: Any = fallback(world).policy
    assert isinstance(policy, FakePolicy)
    return policy.asked


def ramp(world: World, width: int, speed: float) -> Any:
    """Fifty actions that go on from where the robot is, rad."""
    start = world.loop.command[:width]
    return start + speed * ACTION_NS / 1e9 * np.arange(50)[:, None]


def run(world: World, ticks: int, first: bool, second: bool = False) -> None:
    """The policies answer as far as they are said to: the first at 0.5 rad/s, the second back at 0.2 rad/s."""
    for _ in range(ticks):
        world.tick()
        if world.policy.busy and first:
            world.answer(ramp(world, 2, 0.5))
        if second and fallback(world).policy.busy:
            fallback(world).policy.busy = False
            answer(world, asked(world)[-1], ramp(world, 1, -0.2))


def answer(world: World, t0_ns: int, actions: Any) -> None:
    world.planner.lay(Chunk(t0_ns, actions, 0, 1), fallback(world))


def names(world: World) -> list[str]:
    return [event.name for event in world.events.recent if event.name.startswith("policy.")]


def sent(world: World) -> Any:
    return np.array([c for c in world.bus.commands if c is not None])


def within_limits(world: World) -> None:
    steps = np.diff(sent(world), axis=0)
    assert np.abs(steps).max() <= TOP * DT + 1e-9
    assert np.abs(np.diff(steps, axis=0)).max() <= 20 * DT**2 + 1e-9, "along the envelope at all seams"


def start(world: World) -> None:
    world.arm()
    world.loop.start_auto()
    run(world, 50, first=True)
    assert world.loop.command[0] > 0.1


def test_it_takes_over_at_the_end_of_the_plan_without_a_pause_and_gives_back(world: World) -> None:
    start(world)
    assert asked(world) == [], "it is not asked before"
    run(world, PLAN - 20, first=False, second=True)
    assert not world.planner.falls_back, "the plan of the first is executed to its end"
    run(world, 120, first=False, second=True)
    assert names(world) == ["policy.fallback"]
    assert world.planner.falls_back
    assert world.planner.starved_ticks == 0, "it was asked before the plan had run out"
    moved = sent(world)
    assert (np.diff(moved[-50:, 0]) < 0).all(), "it moves its joint"
    assert np.ptp(moved[-50:, 1]) == pytest.approx(0.0), "and the other stays where it was"
    assert moved[-1, 1] == pytest.approx(moved[:, 1].max(), abs=0.02)
    world.policy.busy = False
    world.tick(2)
    run(world, 100, first=True, second=True)
    assert names(world) == ["policy.fallback", "policy.recovered"]
    assert not world.planner.falls_back
    before = len(asked(world))
    run(world, 50, first=True, second=True)
    assert len(asked(world)) == before, "it is not asked any more"
    assert (np.diff(sent(world)[-50:, 0]) > 0).all()
    within_limits(world)
    assert world.loop.modes.mode == Mode.AUTO
    assert world.planner.starved_ticks == 0


def test_an_answer_of_the_first_before_its_plan_ends_is_all_that_happens(world: World) -> None:
    start(world)
    while not asked(world):
        run(world, 1, first=False, second=True)
    assert world.planner.timeline.ahead_s(world.clock[0]) > 0.08, "it is asked before the end, its chunk waits"
    world.answer(ramp(world, 2, 0.5))
    run(world, 60, first=True, second=True)
    assert names(world) == []
    assert (np.diff(sent(world)[-60:, 0]) > 0).all()


def test_after_a_silence_it_takes_over_although_there_is_a_plan() -> None:
    world = build(handover=Handover(S // 2, 0, S))
    start(world)
    run(world, 40, first=False, second=True)
    assert not world.planner.falls_back
    assert asked(world) == []
    run(world, 20, first=False, second=True)
    assert world.planner.falls_back
    assert world.planner.starved_ticks == 0
    assert names(world) == ["policy.fallback"]
    within_limits(world)


def test_a_first_policy_that_never_answers_is_stood_in_for_from_the_start() -> None:
    world = build(handover=Handover(S // 2, 0, S))
    world.arm()
    world.loop.start_auto()
    run(world, 49, first=False, second=True)
    assert asked(world) == []
    run(world, 20, first=False, second=True)
    assert world.planner.falls_back
    assert (np.diff(sent(world)[-5:, 0]) < 0).all()


def test_it_gives_back_once_the_first_has_answered_for_the_stable_time() -> None:
    world = build(handover=Handover(None, S, S // 2))
    start(world)
    run(world, 150, first=False, second=True)
    assert world.planner.falls_back
    world.policy.busy = False
    run(world, 80, first=True, second=True)
    assert world.planner.falls_back, "not yet"
    run(world, 60, first=False, second=True)
    world.policy.busy = False
    run(world, 80, first=True, second=True)
    assert world.planner.falls_back, "it has been silent again, and its time begins anew"
    run(world, 30, first=True, second=True)
    assert not world.planner.falls_back
    assert names(world) == ["policy.fallback", "policy.recovered"]
    within_limits(world)
    assert world.planner.starved_ticks == 0


@pytest.mark.parametrize("lost", ["plan", "worker"])
def test_without_the_fallback_there_is_nothing_to_wait_for(lost: str) -> None:
    world = build(handover=Handover(None, 10 * S, S))
    start(world)
    run(world, 150, first=False, second=True)
    assert world.planner.falls_back
    if lost == "worker":
        fallback(world).policy.ready = False
    else:
        run(world, 110, first=False)
        assert world.planner.starved
    world.policy.busy = False
    run(world, 20, first=True)
    assert not world.planner.falls_back
    assert not world.planner.starved


def test_a_first_policy_slower_than_its_horizon_gets_the_robot_back() -> None:
    """Its chunks would be past when they come: it is asked for the moment at which they do."""
    world = build(handover=Handover(None, 0, 3 * S))
    start(world)
    run(world, 200, first=False, second=True)
    assert world.planner.falls_back
    back = 0
    for _ in range(6):
        while not world.policy.busy:
            run(world, 1, first=False, second=True)
        run(world, PLAN + 20, first=False, second=True)
        world.answer(ramp(world, 2, 0.5))
        run(world, 15, first=False, second=True)
        back += not world.planner.falls_back
    assert back >= 4
    assert world.planner.starved_ticks == 0
    within_limits(world)


def test_when_it_has_no_plan_either_the_robot_holds(world: World) -> None:
    start(world)
    run(world, 200, first=False, second=True)
    run(world, 200, first=False)
    assert world.planner.starved
    assert names(world)[-1] == "policy.starved"
    stood = world.sent().copy()
    run(world, 50, first=False)
    assert world.sent() == pytest.approx(stood)
    assert world.loop.modes.mode == Mode.AUTO
    fallback(world).policy.busy = False
    run(world, 30, first=False, second=True)
    assert names(world)[-1] == "policy.fallback"
    assert (np.diff(sent(world)[-10:, 0]) < 0).all()
    assert world.sent()[1] == pytest.approx(stood[1]), "what it does not move stays where it stood"


def test_an_answer_to_what_was_asked_before_it_gave_back_is_dropped(world: World) -> None:
    start(world)
    run(world, 200, first=False, second=True)
    while not fallback(world).policy.busy:
        world.tick()
    world.policy.busy = False
    run(world, 20, first=True)
    assert not world.planner.falls_back
    goal = world.loop.goal.copy()
    fallback(world).policy.busy = False
    answer(world, asked(world)[-1], np.full((50, 1), -2.0))
    run(world, 20, first=True)
    assert not world.planner.falls_back
    assert world.loop.goal[0] > goal[0]


def test_one_that_is_not_ready_is_a_hold(world: World) -> None:
    fallback(world).policy.ready = False
    start(world)
    run(world, 200, first=False, second=True)
    assert names(world) == ["policy.starved"]
    assert world.planner.starved


def test_a_stop_ends_it_and_a_new_run_begins_with_the_first(world: World) -> None:
    start(world)
    run(world, 200, first=False, second=True)
    assert world.planner.falls_back
    world.loop.stop(Mode.HOLD)
    run(world, 30, first=False, second=True)
    assert world.loop.modes.mode == Mode.HOLD
    assert world.planner.timeline.empty
    stood = world.sent().copy()
    before = len(asked(world))
    world.loop.start_auto()
    world.policy.busy = True
    run(world, 50, first=False, second=True)
    assert world.sent() == pytest.approx(stood), "nobody has a plan yet"
    assert len(asked(world)) == before
    assert not world.planner.falls_back
