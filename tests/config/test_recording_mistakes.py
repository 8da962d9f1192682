"""Mistakes in `[recording]`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runtime.config import recording_rules

Mistakes = Callable[[dict[str, Any]], list[str]]

CAMERAS = {
    name: {"type": "v4l2", "device": "/dev/video0", "width": 64, "height": 48, "rate": rate}
    for name, rate in (("top", 30.0), ("wrist", 15.0))
}

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
    (
        {"cameras": CAMERAS, "recording.video": {"rate": 40, "camera": {"wrst": {}, "wrist": {"rate": 20}}}},
        [
            'recording.video.camera.wrst: found an unknown camera, expected "top" or "wrist"; '
            'did you mean "wrist"?',
            "recording.video.rate: found 40, expected at most cameras.top.rate (30 Hz); lower it",
            "recording.video.camera.wrist.rate: found 20, expected at most cameras.wrist.rate (15 Hz); lower it",
        ],
    ),
    (
        {"recording.video": {"width": 64}},
        ["recording.video: found one of width and height, expected both or none; add the other one"],
    ),
]


@pytest.mark.parametrize(("overrides", "mistakes"), MISTAKES)
def test_a_mistake_is_named(mistakes_of: Mistakes, overrides: dict[str, Any], mistakes: list[str]) -> None:
    assert mistakes_of(overrides) == mistakes


@pytest.mark.parametrize(
    ("codec", "gone", "missing"),
    [
        ("h264", ("av",), "av"),
        ("h265", ("av", "PIL"), "av and PIL"),
        ("jpeg", ("av", "PIL"), "PIL"),
    ],
)
def test_a_codec_asks_for_the_packages_that_it_needs(
    mistakes_of: Mistakes, monkeypatch: pytest.MonkeyPatch, codec: str, gone: tuple[str, ...], missing: str
) -> None:
    monkeypatch.setattr(recording_rules, "find_spec", lambda name: None if name in gone else name)
    told = mistakes_of({"cameras": CAMERAS, "recording.video": {"codec": codec}})
    assert [text.partition(", expected")[0] for text in told] == [f"recording.video: found no package {missing}"]
