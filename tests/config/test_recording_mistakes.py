"""Mistakes in `[recording]`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Mistakes = Callable[[dict[str, Any]], list[str]]

MISTAKES: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"recording.quality.success": {"sensor": "imv.gyro", "min": 1}},
        [
            'recording.quality.success.sensor: found "imv.gyro", expected a sensor\'s field, "imu.gyro" or '
            '"imu.orientation"; correct it'
        ],
    ),
    (
        {"recording.quality.success": {"sensor": "imu.gyro", "min": 1, "element": 3}},
        [
            "recording.quality.success.element: found 3, expected less than 3, which is how many values imu.gyro "
            "has; correct it"
        ],
    ),
    (
        {"recording.quality.success": {"sensor": "imu.gyro"}},
        ["recording.quality.success: found neither min nor max, expected at least one of them; add it"],
    ),
    (
        {"recording.quality.success": {"sensor": "imu.gyro", "min": 2, "max": 1}},
        ["recording.quality.success: min 2.0 is above max 1.0; give the lower number as min"],
    ),
]


@pytest.mark.parametrize(("overrides", "mistakes"), MISTAKES)
def test_a_mistake_is_named(mistakes_of: Mistakes, overrides: dict[str, Any], mistakes: list[str]) -> None:
    assert mistakes_of(overrides) == mistakes
