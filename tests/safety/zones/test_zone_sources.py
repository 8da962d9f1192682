from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safety.monitors.sensors import Field
from safety.zones.sources import BorderDistance, NearestRange, sector

MS = 1_000_000
SQUARE = [(0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (0.0, 4.0)]


@pytest.mark.parametrize("stay_inside", [True, False])
def test_the_distance_is_positive_on_the_side_that_is_allowed(make_sensor: Any, stay_inside: bool) -> None:
    sensor = make_sensor(pose=3)
    distance = BorderDistance(Field(sensor, "pose", max_age_s=0.05), SQUARE, stay_inside)
    assert math.isnan(distance(0)[0])
    sensor.stamp_ns = 1000 * MS
    for (x, y), inside in (((1.0, 2.0), 1.0), ((6.0, 2.0), -2.0)):
        sensor.values[:] = x, y, math.nan  # a yaw that is not known does not matter
        assert distance(1000 * MS)[0] == (inside if stay_inside else -inside)
    assert math.isnan(distance(1051 * MS)[0])
    sensor.values[0] = math.nan
    assert math.isnan(distance(1000 * MS)[0])


def test_the_nearest_ray_counts(make_sensor: Any) -> None:
    sensor = make_sensor(ranges=5)
    nearest = NearestRange(Field(sensor, "ranges", max_age_s=0.05), slice(1, 4))
    assert math.isnan(nearest(0)[0])
    sensor.stamp_ns = 1000 * MS
    for ranges, expected in (
        ((0.1, 3.0, 2.0, 5.0, 0.1), 2.0),
        ((0.1, math.inf, math.inf, math.inf, 0.1), math.inf),
        ((9.0, 0.0, 2.0, 5.0, 9.0), 0.0),
        ((9.0, 3.0, 2.0, math.nan, 9.0), math.nan),
        ((9.0, 3.0, -1.0, 5.0, 9.0), math.nan),
        ((math.nan, 3.0, 2.0, 5.0, math.nan), 2.0),
    ):
        sensor.values[:] = ranges
        assert nearest(1000 * MS)[0] == pytest.approx(expected, nan_ok=True), ranges
    assert math.isnan(nearest(1051 * MS)[0])


@given(
    st.integers(2, 400),
    st.floats(-3.0, 3.0),
    st.floats(0.005, 0.5),
    st.booleans(),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
)
def test_a_sector_takes_every_ray_in_it_and_at_most_one_more_on_each_side(
    count: int, first: float, increment: float, clockwise: bool, one: float, other: float
) -> None:
    increment = -increment if clockwise else increment
    angles = [first + number * increment for number in range(count)]
    low, high = sorted((angles[0] + part * (angles[-1] - angles[0])) for part in (one, other))
    rays = sector(count, first, increment, low, high)
    chosen = angles[rays]
    slack = 1e-5 * abs(increment)
    assert {angle for angle in angles if low - slack <= angle <= high + slack} >= set(chosen[1:-1])
    assert set(chosen) >= {angle for angle in angles if low + slack < angle < high - slack}
    assert min(chosen) <= low + slack
    assert max(chosen) >= high - slack


def test_a_sector_has_no_more_rays_than_the_scan() -> None:
    assert sector(5, 0.0, 1.0, 0.0, 4.0) == slice(0, 5)
    assert sector(5, 0.0, 1.0, -0.5, 4.5) == slice(0, 5)
