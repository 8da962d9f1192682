"""The walking task: gantry, falls, log; and that the Go1 walks as published where its files are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from drivers.emulated.plant import Plant
from drivers.emulated.walk import Walk, window

STOOL = """
<mujoco>
  <option timestep="0.002"/>
  <worldbody>
    <geom type="plane" size="5 5 0.1"/>
    <body name="trunk" pos="0 0 0.3">
      <freejoint/>
      <geom type="box" size="0.1 0.1 0.02" mass="2"/>
      <site name="imu"/>
      <body pos="0 0 -0.02">
        <joint name="leg" axis="0 1 0" damping="0.1"/>
        <geom type="capsule" fromto="0 0 0 0 0 -0.2" size="0.03" mass="0.3"/>
      </body>
    </body>
  </worldbody>
  <actuator><motor name="leg" joint="leg"/></actuator>
  <sensor>
    <gyro name="gyro" site="imu"/>
    <velocimeter name="local_linvel" site="imu"/>
    <framezaxis name="upvector" objtype="site" objname="imu"/>
    <framequat name="orientation" objtype="site" objname="imu"/>
  </sensor>
</mujoco>
"""
GO1 = Path(__file__).parents[3] / "shared" / "robots" / "go1"


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    path = tmp_path / "stool.xml"
    path.write_text(STOOL)
    return Plant(path, ["leg"], "drivers.emulated.walk:Walk")


def task(plant: Plant) -> Walk:
    assert isinstance(plant.task, Walk)
    return plant.task


def test_the_gantry_holds_the_robot_until_all_motors_have_held_for_half_a_second(plant: Plant) -> None:
    home = plant.snapshot()
    plant.power(True)
    plant.advance(1.0)
    assert np.allclose(plant.snapshot(), home, atol=1e-3)
    assert not task(plant).released
    plant.axis("leg").drive(50.0, 1.0, 0.0, 20.0)
    plant.advance(1.4)
    plant.axis("leg").limp()
    plant.advance(1.41)
    plant.axis("leg").drive(50.0, 1.0, 0.0, 20.0)
    plant.advance(1.9)
    assert not task(plant).released
    plant.advance(1.92)
    assert task(plant).released


def test_a_robot_that_was_let_go_falls_once_and_stays_so_until_reset(plant: Plant) -> None:
    task(plant).release()
    plant.data.qvel[4] = 1.5
    plant.advance(4.0)
    score = plant.score()
    assert score["falls"] == 1
    assert score["standing"] == 0
    assert 0.0 < float(score["fell_at"]) < 4.0
    rows = task(plant).log()
    assert rows.shape[1] == 5
    assert np.allclose(np.diff(rows[:, 0]), 0.01)
    plant.reset()
    assert plant.score()["falls"] == 0
    assert not task(plant).released
    assert len(task(plant).log()) == 0


def test_gravity_points_down_in_the_body_frame(plant: Plant) -> None:
    assert plant.sensor({"gravity": 3}) == pytest.approx([0.0, 0.0, -1.0])
    task(plant).release()
    half = np.deg2rad(30) / 2
    plant.data.qpos[3:7] = (np.cos(half), 0.0, np.sin(half), 0.0)
    plant.advance(plant.timestep)
    # Pitched nose down by 30 degrees: gravity has a share along +x.
    assert plant.sensor({"gravity": 3}) == pytest.approx([0.5, 0.0, -np.cos(np.pi / 6)], abs=1e-2)


def test_window_gives_means_and_errors_of_the_rows_inside(tmp_path: Path, plant: Plant) -> None:
    rows = np.zeros((100, 5))
    rows[:, 0] = np.arange(100) * 0.1
    rows[:, 1] = np.where(np.arange(100) % 2, 1.1, 0.9)
    rows[:20, 1] = 9.0
    found = window(rows, 2.0, 10.0, (0.9, 0.0, 0.0))
    assert found["mean_vx"] == pytest.approx(1.0)
    assert found["rms_vx"] == pytest.approx(np.sqrt(0.02))
    assert found["std_vx"] == pytest.approx(0.1)
    task(plant).save(tmp_path / "log.npz")
    assert list(np.load(tmp_path / "log.npz")["columns"]) == ["time", "vx", "vy", "yaw_rate", "up"]


@pytest.mark.skipif(not GO1.is_dir(), reason="the Go1's model and policy are not beside the repository")
def test_go1_walks_as_published_when_called_from_the_physics_loop() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    policy = onnxruntime.InferenceSession(str(GO1 / "policy.onnx"), options)
    joints = [f"{leg}_{joint}" for leg in ("FR", "FL", "RR", "RL") for joint in ("hip", "thigh", "calf")]
    plant = Plant(GO1 / "go1.xml", joints, "drivers.emulated.walk:Walk", timestep=0.004)
    task(plant).release()
    plant.power(True)
    home = np.array([axis.position for axis in plant.axes])
    command, action = np.array([1.0, 0.0, 0.0]), np.zeros(12)
    for k in range(1, 1001):
        sensors = plant.sensor({"local_linvel": 3, "gyro": 3, "gravity": 3})
        position = np.array([axis.position for axis in plant.axes])
        velocity = [axis.velocity for axis in plant.axes]
        observation = np.concatenate((sensors, position - home, velocity, action, command))
        action = policy.run(None, {"obs": observation[None].astype(np.float32)})[0][0].astype(np.float64)
        for i, axis in enumerate(plant.axes):
            axis.drive(35.0, 0.5, 35.0 * (home[i] + 0.5 * action[i]), 35.55 if i % 3 == 2 else 23.7)
        plant.advance(k * 0.02)
    found = task(plant).window(2.0, 20.0, (1.0, 0.0, 0.0))
    # The robot's own page says: 1.02 m/s, rms error 0.03.
    assert plant.score()["falls"] == 0
    assert found["mean_vx"] == pytest.approx(1.02, abs=0.02)
    assert found["rms_vx"] < 0.045
