"""What the loop asks for, and from which action on it executes the answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runtime.policy.scheduler import Scheduler
from runtime.policy.worker.wire import Can
from tests.control.conftest import ACTION_NS, PERIOD_NS, World, build


def ramp(start: Any, speed: float = 0.5) -> Any:
    """Fifty actions of both joints from `start` on, rad; `speed` in rad/s."""
    return start + speed * ACTION_NS / 1e9 * np.arange(50)[:, None] * np.ones(2)


def moving(world: World, ticks: int = 60, delay: int = 0) -> None:
    """Runs at 0.5 rad/s, each answer `delay` ticks after its request; the policy is free then."""
    world.arm()
    world.loop.start_auto()
    due = None
    while ticks > 0 or world.policy.busy:
        ticks -= 1
        world.tick()
        if world.policy.busy and due is None:
            due = world.number + delay
        if due is not None and world.number >= due:
            due = None
            t0_ns = world.policy.asked[-1]
            plan = world.planner.timeline.at(t0_ns)
            world.answer(ramp(plan.position(t0_ns) if plan else world.loop.command))


def until_asked(world: World) -> None:
    for _ in range(40):
        if world.policy.busy:
            return
        world.tick()
    raise AssertionError("the policy is not asked")


@pytest.mark.parametrize("warm_up", [1, 70, 500])
def test_after_the_longest_warm_up_the_first_action_executed_is_the_first_of_the_chunk(warm_up: int) -> None:
    world = build()
    world.arm()
    world.loop.start_auto()
    world.tick(warm_up)
    actions = 0.001 * (1 + np.arange(50))[:, None] * np.ones(2)
    arrived_ns = world.clock[0]
    world.answer(actions)
    goals, since = [], []
    for _ in range(20):
        world.tick()
        goals.append(world.loop.goal[0])
        since.append((world.number * PERIOD_NS - arrived_ns) / ACTION_NS)
    assert since[0] <= 0.5, "the first tick is within the first action"
    assert goals == pytest.approx(0.001 * (1 + np.array(since))), "and each of the others comes in its turn"
    assert world.planner.starved_ticks == 0


def test_the_policy_sees_now_or_the_moment_of_its_answer() -> None:
    seen = {}
    for observe in ("now", "arrival"):
        world = build(observe=observe)  # type: ignore[arg-type]
        moving(world, delay=6)
        until_asked(world)
        seen[observe] = world.policy.asked[-1] - world.clock[0]
        position, last = world.policy.observation[:2], world.policy.observation[2:4]
        lag = world.state.position - world.planner.timeline.at(world.clock[0]).position(world.clock[0])  # type: ignore[union-attr]
        plan = world.planner.timeline.at(world.policy.asked[-1])
        assert plan is not None
        assert position == pytest.approx(plan.position(world.policy.asked[-1]) + lag, abs=1e-6)
        assert last == pytest.approx(plan.goals[plan.row(world.policy.asked[-1])], abs=1e-6)
        sent = np.array([c for c in world.bus.commands if c is not None])
        assert np.diff(sent[-20:, 0]) == pytest.approx(0.005, abs=1e-4), "the run goes on"
    assert seen["now"] == 0
    assert seen["arrival"] == world.planner.source.scheduler.delay_ns == pytest.approx(55e6, abs=10e6)


def test_a_horizon_of_1_is_asked_for_now_although_its_delay_is_an_action() -> None:
    world = build()
    world.planner.source.scheduler = Scheduler(1, 1, ACTION_NS)
    world.arm()
    world.loop.start_auto()
    for _ in range(20):
        world.tick()
        if world.policy.busy:
            world.clock[0] += 3_000_000
            world.answer([[0.1, 0.2]])
    assert world.planner.source.scheduler.delay == 1
    assert [t0_ns % PERIOD_NS for t0_ns in world.policy.asked] == [PERIOD_NS // 2] * len(world.policy.asked)
    assert set(np.diff(world.policy.asked[1:]).tolist()) == {ACTION_NS}
    assert world.planner.starved_ticks == 0


def test_from_standstill_there_is_nothing_to_foresee() -> None:
    world = build(observe="arrival")
    world.planner.source.scheduler.answered(200_000_000)
    world.arm()
    world.loop.start_auto()
    world.tick(2)
    assert world.policy.asked == [(world.number - 1) * PERIOD_NS + PERIOD_NS // 2], "when it was asked"


def test_a_policy_that_continues_is_handed_the_plan_and_the_delay_in_its_own_numbers() -> None:
    world = build(seam="prefix")
    world.policy.can = Can.CONTINUE
    moving(world, delay=6)
    assert world.policy.handed[0] == (0, 0), "there was none at first"
    until_asked(world)
    t0_ns = world.policy.asked[-1]
    known, delay = world.policy.handed[-1]
    assert delay == 3, "55 ms of 20 ms actions"
    assert known == -((t0_ns - world.planner.timeline.end_ns) // ACTION_NS)
    rows = world.policy.plan[:known]
    committed = world.planner.timeline.committed(t0_ns, ACTION_NS, 50)
    assert rows == pytest.approx(committed, abs=1e-6)
    world.tick(2)
    due = [world.planner.timeline.at(t).position(t) for t in (t0_ns, t0_ns + ACTION_NS)]  # type: ignore[union-attr]
    assert rows[:2] == pytest.approx(np.array(due), abs=1e-6), "what runs, if nothing new comes"
    world.answer(np.vstack([rows, np.repeat(rows[-1:], 50 - known, axis=0)]))
    assert world.planner.seam is not None
    assert world.planner.seam.strategy == "prefix"
    assert world.planner.seam.before_rad < 1e-6, "an answer that agrees leaves nothing to blend"


def test_other_policies_are_handed_nothing() -> None:
    world = build(seam="blend")
    world.policy.can = Can.CONTINUE
    moving(world)
    assert set(world.policy.handed) == {(0, 0)}


def test_a_policy_that_cannot_continue_a_plan_is_a_problem_and_not_silently_something_else() -> None:
    world = build(seam="prefix")
    assert "backend cannot continue a plan" in world.planner.source.problem
    world.policy.can = Can.CONTINUE | Can.TASK
    assert not world.planner.source.problem
    assert not build(seam="blend").planner.source.problem


def test_the_planner_tells_what_its_seams_did() -> None:
    world = build()
    told: list[Any] = []
    world.planner._on_laid = lambda chunk, now_ns, seam, task: told.append(seam)
    moving(world, 20)
    world.policy.busy = True
    world.answer(ramp(world.loop.command + 0.3), world.clock[0])
    last = told[-1]
    assert last is world.planner.seam
    assert (last.by, last.strategy, last.fade_s) == ("policy", "blend", 0.2)
    assert last.before_rad == world.planner.seam_before_max == pytest.approx(0.3, abs=0.02)
    assert last.after_rad == pytest.approx(0.0, abs=1e-12)
    assert world.planner.seam_step_max == pytest.approx(0.0, abs=1e-12)
