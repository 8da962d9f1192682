from __future__ import annotations

import math
from typing import Any

import pytest

from safety.monitors.sensors import Field, SensorAge, Tilt

MS = 1_000_000


def test_a_field_can_be_used_while_its_reading_is_young(make_sensor: Any) -> None:
    sensor = make_sensor(gyro=3, pose=2)
    sensor.values[:] = 1.0, 2.0, 3.0, 4.0, 5.0
    field = Field(sensor, "pose", max_age_s=0.05)
    assert field.values(10 * MS) is None, "there was no reading yet"
    sensor.stamp_ns = 1000 * MS
    for now_ms, young in ((1000, True), (1050, True), (1051, False), (950, True), (949, False)):
        values = field.values(now_ms * MS)
        assert (values is not None) == young, now_ms
        if values is not None:
            assert values.tolist() == [4.0, 5.0]


def quaternion(angle: float, axis: tuple[float, float, float]) -> list[float]:
    return [math.cos(angle / 2), *(math.sin(angle / 2) * part for part in axis)]


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.5, 3.0])
@pytest.mark.parametrize("axis", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.6, 0.8, 0.0)])
def test_tilt_is_the_angle_from_upright(make_sensor: Any, angle: float, axis: tuple[float, float, float]) -> None:
    sensor = make_sensor(orientation=4)
    tilt = Tilt(Field(sensor, "orientation", max_age_s=0.05))
    sensor.stamp_ns = 1000 * MS
    sensor.values[:] = quaternion(angle, axis)
    assert tilt(1000 * MS)[0] == pytest.approx(angle)
    sensor.values[:] = quaternion(1.0, (0.0, 0.0, 1.0))  # turned, not tilted
    assert tilt(1000 * MS)[0] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("gravity", "expected"),
    [
        ((0, 0, -1), 0.0),
        ((1, 0, 0), math.pi / 2),
        ((0, 0.6, -0.8), 0.6435),
        ((0, 0, 1), math.pi),
        ((0, 0, -1.005), 0.0),
        ((0, 0, 1.005), math.pi),
    ],
)
def test_tilt_from_the_direction_of_gravity(make_sensor: Any, gravity: tuple[float, ...], expected: float) -> None:
    sensor = make_sensor(gravity=3)
    sensor.stamp_ns, sensor.values[:] = 1000 * MS, gravity
    assert Tilt(Field(sensor, "gravity", max_age_s=0.05))(1000 * MS)[0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("values", [(0, 0, 0, 0), (math.nan, 0, 0, 1), (2, 0, 0, 0), (math.inf, 0, 0, 0)])
def test_what_is_no_orientation_is_not_upright(make_sensor: Any, values: tuple[float, ...]) -> None:
    sensor = make_sensor(orientation=4)
    sensor.stamp_ns, sensor.values[:] = 1000 * MS, values
    assert math.isnan(Tilt(Field(sensor, "orientation", max_age_s=0.05))(1000 * MS)[0])


def test_an_old_orientation_is_not_upright_either(make_sensor: Any) -> None:
    sensor = make_sensor(orientation=4)
    sensor.stamp_ns, sensor.values[:] = 1000 * MS, (1, 0, 0, 0)
    tilt = Tilt(Field(sensor, "orientation", max_age_s=0.05))
    assert tilt(1050 * MS)[0] == 0
    assert math.isnan(tilt(1051 * MS)[0])


def test_age(make_sensor: Any) -> None:
    one, other = make_sensor(a=1), make_sensor(a=1)
    one.stamp_ns = 900 * MS
    source = SensorAge([one, other])
    assert source(1000 * MS).tolist() == pytest.approx([0.1, math.inf])
    assert source(800 * MS)[0] == pytest.approx(0.1), "a reading from the future is wrong as well"
