"""The belt task: what it shows, what it counts, and that chance repeats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.emulated.belt import BELT_TOP, BIN, CUBE_HALF, READY, SPAWN_Y, SPEED, Belt
from drivers.emulated.plant import Plant
from drivers.emulated.servo import SERVOS

DEMO = Path(__file__).parents[2] / "configs" / "demo"
JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_pitch", "wrist_roll", "gripper")
MODELS = ("XM540-W270",) * 3 + ("XM430-W350",) * 4
FIELDS = {"object_position": 3, "object_velocity": 3, "object_present": 1}
WAITING = (0.418, 0.3865, -0.0024, 0.0, 1.1867, 0.418, 1.5)
"""Angles that put the grasp centre at READY, hand down."""


def make(seed: int = 0) -> Plant:
    return Plant(DEMO / "arm.xml", JOINTS, "drivers.emulated.belt:Belt", seed=seed)


def task(plant: Plant) -> Belt:
    assert isinstance(plant.task, Belt)
    return plant.task


def hold(plant: Plant, goal: tuple[float, ...]) -> None:
    plant.power(True)
    for axis, angle, model in zip(plant.axes, goal, MODELS, strict=True):
        law = SERVOS[model]
        axis.drive(law.kp, law.kd, law.kp * angle, law.limit)


def place(plant: Plant, cube: int, x: float, y: float, z: float) -> None:
    start = int(plant.model.joint(f"cube_{cube}").qposadr[0])
    dof = int(plant.model.joint(f"cube_{cube}").dofadr[0])
    plant.data.qpos[start : start + 3] = (x, y, z)
    plant.data.qvel[dof : dof + 6] = 0.0


def score(plant: Plant) -> dict[str, Any]:
    return plant.score()


@pytest.fixture
def waiting() -> Plant:
    """A plant whose arm waits over the belt, with the first cube on its way."""
    plant = make()
    hold(plant, WAITING)
    while not score(plant)["spawned"]:
        plant.advance(plant.time + 0.05)
        assert plant.time < 5.0
    return plant


def test_a_limp_arm_stays_folded_and_no_cube_comes() -> None:
    plant = make()
    first = [axis.position for axis in plant.axes]
    plant.advance(3.0)
    assert [axis.position for axis in plant.axes] == pytest.approx(first, abs=0.1)
    assert score(plant) == {"spawned": 0, "in_bin": 0, "missed": 0, "in_hand": 0, "total": 10, "done": 0}
    assert not plant.sensor(FIELDS).any()


def test_the_first_cube_comes_when_the_arm_is_ready(waiting: Plant) -> None:
    hand = waiting.data.site("tcp").xpos
    assert np.allclose(hand, READY, atol=0.08)


def test_a_cube_rides_the_belt_at_its_speed(waiting: Plant) -> None:
    waiting.advance(waiting.time + 0.3)
    before = waiting.sensor(FIELDS)
    waiting.advance(waiting.time + 1.0)
    after = waiting.sensor(FIELDS)
    assert after[6] == 1.0
    travelled = before[1] - after[1]
    assert SPEED[0] - 0.005 < travelled < SPEED[1] + 0.005
    assert after[4] == pytest.approx(-travelled, abs=0.01)
    assert after[0] == pytest.approx(before[0], abs=0.003)
    assert after[2] == pytest.approx(BELT_TOP + CUBE_HALF, abs=0.003)
    assert after[1] < SPAWN_Y


def test_a_cube_that_passes_is_missed_and_the_next_one_comes(waiting: Plant) -> None:
    # Out of the cube's way.
    hold(waiting, (*WAITING[:1], 0.0, *WAITING[2:]))
    waiting.advance(waiting.time + 7.0)
    assert score(waiting)["missed"] == 1
    waiting.advance(waiting.time + 1.0)
    assert score(waiting)["spawned"] == 2
    assert waiting.sensor({"object_present": 1})[0] == 1.0


def test_a_cube_dropped_into_the_bin_counts_once_and_is_out_of_play(waiting: Plant) -> None:
    place(waiting, 0, BIN[0], BIN[1], 0.15)
    waiting.advance(waiting.time + 0.02)
    assert score(waiting)["in_bin"] == 0
    waiting.advance(waiting.time + 0.15)
    assert score(waiting)["in_bin"] == 1
    assert not waiting.sensor(FIELDS).any()
    waiting.advance(waiting.time + 1.5)
    assert score(waiting)["in_bin"] == 1
    assert score(waiting)["missed"] == 0


def test_a_cube_on_the_floor_is_missed(waiting: Plant) -> None:
    place(waiting, 0, 0.6, 0.0, 0.05)
    waiting.advance(waiting.time + 0.05)
    assert score(waiting)["missed"] == 1


def test_a_cube_between_the_fingers_is_in_hand(waiting: Plant) -> None:
    hand = waiting.data.site("tcp").xpos
    place(waiting, 0, *hand)
    assert score(waiting)["in_hand"] == 1
    place(waiting, 0, hand[0], hand[1] + 0.05, hand[2])
    assert score(waiting)["in_hand"] == 0


def test_ten_cubes_and_the_run_is_done(waiting: Plant) -> None:
    for cube in range(10):
        while score(waiting)["spawned"] <= cube:
            waiting.advance(waiting.time + 0.05)
        place(waiting, cube, BIN[0], BIN[1], 0.12)
        while score(waiting)["in_bin"] <= cube:
            waiting.advance(waiting.time + 0.05)
            assert waiting.time < 30.0
    assert score(waiting)["done"] == 1
    # They slid down the chute and lie in the tray, none on top of the drop.
    heights = [waiting.data.body(f"cube_{i}").xpos[2] for i in range(9)]
    assert max(heights) < 0.09


def test_same_seed_same_run() -> None:
    def draws(plant: Plant) -> list[Any]:
        return list(task(plant)._draws)

    plant = make(seed=3)
    first = draws(plant)
    assert first == draws(make(seed=3))
    assert first != draws(make(seed=4))
    plant.reset()
    assert first == draws(plant)
    plant.reset(seed=4)
    assert draws(plant) == draws(make(seed=4))


def test_a_later_reset_starts_the_run_again(waiting: Plant) -> None:
    waiting.advance(waiting.time + 1.0)
    waiting.reset()
    assert score(waiting)["spawned"] == 0
    assert waiting.axis("shoulder").position == pytest.approx(-1.25)
    assert not waiting.sensor(FIELDS).any()
