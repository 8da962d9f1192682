"""Another task while the policy moves the robot: from the next request on, and the motion goes on."""

from __future__ import annotations

import numpy as np

from runtime.control.modes import Mode
from runtime.policy.tasks import Task, Tasks
from runtime.policy.worker.wire import Can
from tests.control.conftest import ACTION_NS, World, build

LEFT, RIGHT = Task("left", 1.0), Task("right", 2.0)


def ramp(world: World, speed: float) -> np.ndarray:
    """Fifty actions that go on from where the robot is, rad; `speed`: rad/s."""
    return world.loop.command + speed * ACTION_NS / 1e9 * np.arange(50)[:, None]


def test_the_plan_in_force_runs_on_until_the_chunk_for_the_new_task_is_there() -> None:
    world = build(tasks=Tasks([LEFT, RIGHT]))
    laid: list[Task] = []
    world.planner._on_laid = lambda *told: laid.append(told[-1])
    world.arm()
    world.loop.start_auto()
    while not world.policy.busy:
        world.tick()
    assert world.policy.observation[-1] == 1.0
    world.planner.tasks.choose("right")
    world.tick(5)
    assert len(world.policy.asked) == 1
    world.answer(ramp(world, 0.5))
    assert laid == [LEFT], "what was asked for the old task is used"
    while not world.policy.busy:
        world.tick()
        assert len(laid) == 1
    assert world.policy.observation[-1] == 2.0
    before = world.loop.command[0]
    world.tick(10)
    assert world.loop.command[0] > before, "the plan for the old task runs on"
    world.answer(ramp(world, -0.5))
    assert laid == [LEFT, RIGHT]
    world.tick(30)
    assert world.loop.command[0] < before
    assert world.planner.starved_ticks == 0
    assert world.loop.modes.mode == Mode.AUTO


def test_a_plan_for_the_old_task_is_continued_no_further_than_it_runs_anyway() -> None:
    world = build(seam="prefix", tasks=Tasks([LEFT, RIGHT]))
    world.policy.can = Can.CONTINUE  # type: ignore[attr-defined]
    world.arm()
    world.loop.start_auto()

    def ask() -> tuple[int, int]:
        while not world.policy.busy:
            world.tick()
        handed: tuple[int, int] = world.policy.handed[-1]
        world.tick(6)
        world.answer(ramp(world, 0.5))
        return handed

    ask()
    known, delay = ask()
    assert known > delay > 0
    world.planner.tasks.choose("right")
    known, delay = ask()
    assert known == delay > 0
    known, delay = ask()
    assert known > delay > 0, "and for the new one as ever"


def test_a_policy_has_tasks_when_its_observation_shows_them_or_its_backend_takes_a_prompt() -> None:
    assert build(tasks=Tasks([LEFT])).planner.source.has_tasks
    world = build()
    world.policy.can = Can.CONTINUE  # type: ignore[attr-defined]
    assert not world.planner.source.has_tasks
    world.policy.can |= Can.TASK  # type: ignore[attr-defined]
    assert world.planner.source.has_tasks
