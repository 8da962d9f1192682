"""Mistakes in `[degraded]`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Mistakes = Callable[[dict[str, Any]], list[str]]
HOME = {"hip": 0.0, "knee": -1.0}
TERMS = {"observation": [{"source": "joint.position", "joints": ["kne"]}], "action": [{}]}
GRIP = {"safety.monitor.grip_stall": {"only": ["knee"], "warn": 1.0}}

MISTAKES: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"degraded.sensor": {"imv": {}}},
        ['degraded.sensor.imv: found the unknown sensor "imv", expected "imu"; did you mean "imu"?'],
    ),
    (
        {"degraded.home": {"hip": 0.0}},
        ["degraded.home: found no angle of knee, expected one of every joint; add it"],
    ),
    (
        {"degraded.home": {"hip": 1.5, "knee": -1.0}, "degraded.open": {"kne": 0.0}},
        [
            "degraded.home.hip: found 1.5, expected -1 ... 1, the joint's range; change it",
            'degraded.open.kne: found the unknown joint "kne", expected "hip" or "knee"; did you mean "knee"?',
        ],
    ),
    (
        {
            "degraded.sensor": {"imu": {"reaction": "home"}},
            "degraded.starved": {"reaction": "home"},
            "degraded.grip_stall": {"reaction": "home"},
        },
        [
            f'degraded.{place}.reaction: found "home", but the robot has none; give the angle of every joint in '
            "degraded.home"
            for place in ("starved", "grip_stall", "sensor.imu")
        ],
    ),
    (
        GRIP,
        [
            "degraded.open: found no angle of knee, expected where it has let go: when it stalls (the monitor's "
            "warn), the robot retreats; add it, or give the monitor a stop in place of warn"
        ],
    ),
    (
        {"policy.fallback": {"model": "no.onnx", "rate": 500, "horizon": 2, "execute": 3, "after": 0.01, **TERMS}},
        [
            "policy.fallback.after: found 0.01, expected more than 0.1 s, the time between two requests to the "
            "first policy: it would be taken for silent between two answers; raise it",
            "policy.fallback.observation[0]: joint.position: no joint is called kne; found hip, knee",
            "policy.fallback.rate: found 500, expected at most control.rate (400 Hz): a tick takes one action at "
            "most; lower it or raise control.rate",
            "policy.fallback.execute: found 3, expected at most policy.horizon (2); lower it",
            "policy.fallback.model: found no file at ~/no.onnx, expected the policy's model; put it there or "
            'correct "no.onnx" (a relative path starts at the config\'s folder)',
        ],
    ),
    (
        {"degraded.sensor": {"imu": {"reaction": "panic"}}},
        [
            'degraded.sensor.imu.reaction: found "panic", expected "hold", "stop", "home" or "retreat"; '
            "write one of these"
        ],
    ),
]


@pytest.mark.parametrize(("overrides", "mistakes"), MISTAKES)
def test_a_mistake_is_named(mistakes_of: Mistakes, overrides: dict[str, Any], mistakes: list[str]) -> None:
    assert mistakes_of(overrides) == mistakes


@pytest.mark.parametrize(
    "overrides",
    [
        {"degraded.sensor": {"imu": {"grace": 0.0}}},
        {"degraded.sensor": {"imu": {"reaction": "home"}}, "degraded.home": HOME},
        {**GRIP, "degraded.open": {"knee": -0.5}},
        {**GRIP, "degraded.grip_stall": {"reaction": "stop"}},
        {"safety.monitor.grip_stall": {"only": ["knee"], "stop": 1.0}},
    ],
)
def test_what_is_right_is_taken(load_with: Callable[..., Any], overrides: dict[str, Any]) -> None:
    assert load_with(overrides=overrides).degraded
