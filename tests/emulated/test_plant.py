"""The plant: the drive law, power, exact stepping, sensors, reset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from drivers.emulated.plant import Plant

PENDULUMS = """
<mujoco>
  <option timestep="0.001" gravity="0 0 -9.81"/>
  <worldbody>
    <body>
      <joint name="hip_joint" axis="0 1 0" damping="0.7" armature="0.01"/>
      <geom type="capsule" fromto="0 0 0 0.3 0 0" size="0.02" mass="0.5"/>
      <body pos="0.3 0 0">
        <joint name="knee" axis="0 1 0" damping="0.7" armature="0.01"/>
        <geom type="capsule" fromto="0 0 0 0.3 0 0" size="0.02" mass="0.3"/>
        <site name="tip" pos="0.3 0 0"/>
      </body>
    </body>
  </worldbody>
  <actuator>
    <position name="hip" joint="hip_joint" kp="10" ctrlrange="-0.1 0.1" forcerange="-1 1"/>
    <motor name="knee" joint="knee" gear="5"/>
  </actuator>
  <sensor><framepos name="tip" objtype="site" objname="tip"/><jointpos name="knee_angle" joint="knee"/></sensor>
</mujoco>
"""


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    path = tmp_path / "pendulums.xml"
    path.write_text(PENDULUMS)
    return Plant(path, ["hip", "knee"])


def test_torque_is_the_drive_law_clipped_at_the_limit(plant: Plant) -> None:
    plant.power(True)
    hip, knee = plant.axis("hip"), plant.axis("knee")
    hip.drive(kp=3.0, kd=0.2, bias=0.5, limit=100.0)
    knee.drive(kp=50.0, kd=1.0, bias=-40.0, limit=2.5)
    seen = set()
    for step in range(1, 300):
        # The torque of a step follows from the state before it.
        wanted = [
            np.clip(0.5 - 3.0 * hip.position - 0.2 * hip.velocity, -100.0, 100.0),
            np.clip(-40.0 - 50.0 * knee.position - 1.0 * knee.velocity, -2.5, 2.5),
        ]
        plant.advance(step * plant.timestep)
        assert [hip.torque, knee.torque] == pytest.approx(wanted, abs=1e-9)
        seen.add(abs(wanted[1]) == 2.5)
    assert seen == {True, False}


def test_the_motor_brings_the_damping(plant: Plant) -> None:
    assert not plant.model.dof_damping.any()


def test_a_servo_settles_where_gravity_and_stiffness_balance(plant: Plant) -> None:
    plant.power(True)
    plant.axis("hip").drive(kp=100.0, kd=3.0, bias=0.0, limit=50.0)
    plant.axis("knee").drive(kp=100.0, kd=3.0, bias=0.0, limit=50.0)
    plant.advance(3.0)
    hip, knee = plant.axis("hip"), plant.axis("knee")
    fold = 0.3 * 9.81 * 0.15 * np.cos(hip.position + knee.position)
    assert 100.0 * knee.position == pytest.approx(fold, rel=0.01)
    assert knee.torque == pytest.approx(-fold, rel=0.01)
    assert abs(knee.velocity) < 1e-3


def test_without_power_every_axis_is_limp_whatever_is_commanded(plant: Plant) -> None:
    plant.axis("hip").drive(1e3, 1.0, 0.0, 50.0)
    plant.advance(0.05)
    assert plant.axis("hip").torque == 0.0
    assert plant.axis("hip").position > 0.005
    plant.power(True)
    assert plant.axis("hip").stiff
    assert not plant.axis("knee").stiff
    plant.advance(0.1)
    assert plant.axis("hip").torque != 0.0
    plant.power(False)
    plant.axis("hip").drive(1e3, 1.0, 5.0, 50.0)
    plant.advance(0.2)
    assert plant.axis("hip").torque == 0.0


def test_limp_is_no_torque(plant: Plant) -> None:
    plant.power(True)
    axis = plant.axis("hip")
    axis.drive(1e3, 1.0, 0.0, 50.0)
    plant.advance(0.05)
    axis.limp()
    plant.advance(0.06)
    assert axis.torque == 0.0


def test_advance_steps_exactly_as_often_as_asked(plant: Plant) -> None:
    for k in range(1, 1001):
        plant.advance(k * 0.003)
        assert round(plant.data.time / 0.001) == 3 * k
    plant.advance(1.0)
    assert plant.time == pytest.approx(3.0)
    plant.advance(3.0001)
    assert plant.time == pytest.approx(3.001)


def test_sensor_gives_fields_in_order_and_names_what_is_wrong(plant: Plant) -> None:
    values = plant.sensor({"knee_angle": 1, "tip": 3})
    assert values == pytest.approx([0.0, 0.6, 0.0, 0.0])
    with pytest.raises(ValueError, match="no sensor 'gyro'"):
        plant.sensor({"gyro": 3})
    with pytest.raises(ValueError, match="has 3 values, 2 expected"):
        plant.sensor({"tip": 2})


def test_reset_restores_the_pose_but_time_goes_on(plant: Plant) -> None:
    first = plant.snapshot()
    plant.advance(0.4)
    assert not np.allclose(plant.snapshot(), first)
    plant.reset()
    assert np.array_equal(plant.snapshot(), first)
    assert plant.time == pytest.approx(0.4)
    plant.advance(0.5)
    assert plant.data.time == pytest.approx(0.5)


def test_what_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pendulums.xml"
    path.write_text(PENDULUMS)
    with pytest.raises(ValueError, match="no joint 'ankle'"):
        Plant(path, ["ankle"])
    with pytest.raises(ValueError, match="task 'nothing:Here' cannot be loaded"):
        Plant(path, ["hip"], "nothing:Here")
    path.write_text(PENDULUMS.replace('<motor name="knee" joint="knee" gear="5"/>', ""))
    with pytest.raises(ValueError, match="joint 'knee' has 0 actuators"):
        Plant(path, ["knee"])
