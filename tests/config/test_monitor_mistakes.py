"""Mistakes in `[safety.monitor]`, `[safety.geofence]` and `[safety.protective_field]`."""

# ruff: noqa: E501
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runtime.config.config import Config
from runtime.config.joint_limits import joint_limits

Mistakes = Callable[[dict[str, Any]], list[str]]
SQUARE = [[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]]
FENCE = {"pose": "base.pose", "border": SQUARE}
FIELD = {"ranges": "lidar.ranges", "stop": 0.5, "angle_min": -1.0, "angle_increment": 0.5}
SENSORS = [
    {"name": "imu", "type": "datagram", "path": "{run}/imu.sock", "fields": {"gyro": 3, "orientation": 4}},
    {"name": "base", "type": "datagram", "path": "{run}/base.sock", "fields": {"pose": 3, "height": 1}},
    {"name": "lidar", "type": "datagram", "path": "{run}/lidar.sock", "fields": {"ranges": 5}},
]

MISTAKES: list[tuple[str, dict[str, Any], list[str]]] = [
    (
        "monitor.velocity",
        {"action": "slowly"},
        ['action: found "slowly", expected "slow", "hold", "controlled_stop" or "torque_off"; write one of these'],
    ),
    (
        "monitor.velocity",
        {"stop": 0},
        ["stop: found 0, expected a number above 0 (beyond this the robot reacts as `action` says); change it"],
    ),
    (
        "monitor.velocity",
        {"only": ["hop"], "joints": {"kne": {"stop": 1.0}}},
        [
            'only[0]: found the unknown joint "hop", expected "hip" or "knee"; did you mean "hip"?',
            'joints.kne: found the unknown joint "kne", expected "hip" or "knee"; did you mean "knee"?',
            "found no joint with a limit, expected warn or stop; add one of them or remove the section",
        ],
    ),
    (
        "monitor.velocity",
        {"only": ["hip"], "joints": {"knee": {"stop": 1.0}}},
        ["joints.knee: found limits of a joint that is not in `only`; add it there"],
    ),
    (
        "monitor.velocity",
        {"warn": 11.0},
        [
            f"warn: found 11, expected less than stop of {joint} (10), which it announces; change one of them"
            for joint in ("hip", "knee")
        ],
    ),
    (
        "monitor.torque",
        {"warn": 2.0, "joints": {"knee": {"stop": 2.0}}},
        ["joints.knee: found 2, expected less than stop of knee (2), which it announces; change one of them"],
    ),
    (
        "monitor.voltage",
        {"warn": 20.0, "stop": 22.0, "only": ["hip"]},
        ["warn: found 20, expected more than stop of hip (22), which it announces; change one of them"],
    ),
    (
        "monitor.following_error",
        {},
        ["found no joint with a limit, expected warn or stop; add one of them or remove the section"],
    ),
    (
        "monitor.joint_age",
        {"stop": 0.005, "only": ["hip"]},
        [
            "stop: found 0.005, expected at least 3 periods of the loop (0.0075 s): a reading is one or two old when "
            "all is well; raise it"
        ],
    ),
    (
        "monitor.oscillation",
        {"stop": 60.0, "amplitude": 0.5, "only": ["knee"]},
        [
            "stop: found 60, expected at most 50 Hz: the joints are looked at every 0.005 s (a quarter of "
            "safety.stall), and what swings faster looks slower; lower it"
        ],
    ),
    ("monitor.grip_stall", {"stop": 2.0}, ["only: found nothing, expected the grippers' joints; name them"]),
    (
        "monitor.tilt",
        {"orientation": "imu.gyros", "stop": 1.0},
        [
            'orientation: found the unknown sensor\'s field "imu.gyros", expected "imu.gyro", "imu.orientation", '
            '"base.pose", "base.height" or "lidar.ranges"; did you mean "imu.gyro"?'
        ],
    ),
    (
        "monitor.tilt",
        {"orientation": "lidar.ranges", "warn": 1.0, "stop": 0.5},
        [
            "orientation: found lidar.ranges, which has 5 values, expected 4 (a quaternion w, x, y, z) or 3 (a "
            "direction of gravity); name another field",
            "warn: found 1, expected less than stop (0.5), which it announces; change one of them",
        ],
    ),
    (
        "monitor.tilt",
        {"orientation": "imu.orientation"},
        ["found neither warn nor stop, expected one of them at least; add it or remove the section"],
    ),
    (
        "monitor.sensor_age",
        {"warn": {"imu": 0.2}, "stop": {"imu": 0.1, "lida": 0.1}},
        [
            'stop.lida: found the unknown sensor "lida", expected "imu", "base" or "lidar"; did you mean "lidar"?',
            "warn.imu: found 0.2, expected less than stop.imu (0.1), which it announces; change one of them",
        ],
    ),
    (
        "monitor.sensor_age",
        {},
        ["found neither warn nor stop, expected one of them at least; add it or remove the section"],
    ),
    (
        "geofence.hall",
        FENCE | {"pose": "base.height", "border": [SQUARE[n] for n in (0, 2, 1, 3)]},
        [
            "pose: found base.height, which has 1 values, expected 2 (x, y); name another field",
            "border: found sides 0 and 2 (from 0) that cross or touch; correct the vertices",
        ],
    ),
    (
        "geofence.hall",
        FENCE | {"slow": 0.5, "stop": 0.5, "clear": "gone"},
        [
            "slow: found 0.5, expected more than stop (0.5), which it announces; change one of them",
            'clear: found "gone", expected "reset" because of action = "controlled_stop": power never comes back by '
            'itself; change it, or the action to "hold"',
        ],
    ),
    (
        "protective_field.front",
        FIELD | {"sector": [-1.5, 0.5]},
        [
            "sector: found -1.5 ... 0.5 rad, expected a part of the -1 ... 1 rad that the 5 rays of lidar.ranges "
            "cover; change it, or make two fields across the scan's end"
        ],
    ),
    (
        "protective_field.front",
        FIELD | {"sector": [0.5, -0.5]},
        [
            "sector: found 0.5 ... -0.5 rad, expected a part of the -1 ... 1 rad that the 5 rays of lidar.ranges "
            "cover; change it, or make two fields across the scan's end"
        ],
    ),
    (
        "protective_field.front",
        FIELD | {"angle_increment": 0.0, "sector": [0.0, 1.0]},
        ["angle_increment: found 0, expected the angle between two rays; change it"],
    ),
]


@pytest.mark.parametrize(("section", "table", "expected"), MISTAKES)
def test_mistakes(mistakes_of: Mistakes, section: str, table: dict[str, Any], expected: list[str]) -> None:
    found = mistakes_of({"sensor": SENSORS, f"safety.{section}": table})
    head = f"safety.{section}"
    assert found == [f"{head}: {text}" if text.startswith("found") else f"{head}.{text}" for text in expected]


def test_a_joint_without_kp_has_no_torque_error(mistakes_of: Mistakes) -> None:
    (found,) = mistakes_of(
        {
            "bus.can.type": "dynamixel",
            "bus.can.interface": None,
            "bus.can.channel": None,
            "bus.can.port": "{run}/port",
            "control.rate": 100.0,
            "joint.hip.model": "XM430-W350",
            "joint.knee.model": "XM430-W350",
            "joint.hip.kp": None,
            "safety.monitor.torque_error": {"stop": 2.0, "only": ["hip", "knee"]},
        }
    )
    assert found == (
        'safety.monitor.torque_error.only[0]: found "hip", which has no kp, expected a joint in MIT mode; remove it'
    )


def limits(config: Config, key: str) -> dict[str, tuple[float | None, float | None]]:
    found = joint_limits(key, config.safety, config.control, config.joints)
    return {name: (limit.warn, limit.stop) for name, limit in found.items()}


def test_limits_that_are_there_by_default(load_with: Callable[..., Config]) -> None:
    config = load_with()
    assert limits(config, "velocity") == {"hip": (None, 10.0), "knee": (None, 10.0)}
    assert limits(config, "torque") == {"hip": (None, 12.0), "knee": (None, 12.0)}
    # 10 requests at 400 Hz, twice, and 20 ms without a beat.
    assert limits(config, "joint_age") == {"hip": (None, pytest.approx(0.07)), "knee": (None, pytest.approx(0.07))}
    for key in (
        "following_error",
        "torque_error",
        "collision",
        "oscillation",
        "grip_stall",
        "temperature",
        "voltage",
    ):
        assert limits(config, key) == {}


def test_a_joint_s_own_limit_wins_over_the_monitor_s_and_that_over_the_default(
    load_with: Callable[..., Config],
) -> None:
    table = {"warn": 1.0, "joints": {"knee": {"stop": 3.0}}}
    config = load_with(overrides={"safety.monitor.velocity": table})
    assert limits(config, "velocity") == {"hip": (1.0, 10.0), "knee": (1.0, 3.0)}
    config = load_with(overrides={"safety.monitor.velocity": table | {"stop": 2.0, "only": ["knee"]}})
    assert limits(config, "velocity") == {"knee": (1.0, 3.0)}
    config = load_with(overrides={"joint.hip.torque_max": 4.0, "safety.monitor.torque": {"warn": 5.0}})
    assert limits(config, "torque") == {"hip": (5.0, 6.0), "knee": (5.0, 12.0)}


def test_good_zones(load_with: Callable[..., Config]) -> None:
    config = load_with(
        overrides={
            "sensor": SENSORS,
            "safety.geofence.hall": FENCE | {"slow": 0.5, "action": "hold", "clear": "gone"},
            "safety.protective_field.front": FIELD | {"sector": [-1.0, 1.0], "slow": 1.0},
        }
    )
    assert config.safety.geofence["hall"].border[2] == (4.0, 4.0)
    assert config.safety.protective_field["front"].sector == (-1.0, 1.0)
