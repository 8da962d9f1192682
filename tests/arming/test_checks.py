"""Every arming check alone: it passes when it must, and otherwise says who, what was found and what to do."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from drivers.joint import Joint
from drivers.state import JointState
from runtime.arming.clock import clock, is_synchronised
from runtime.arming.disk import disk
from runtime.arming.drive_enable import drive_enable
from runtime.arming.estop import estop
from runtime.arming.joints import joints
from runtime.arming.model import ModelFile, model, policy
from runtime.arming.realtime import realtime
from runtime.arming.sensors import sensors
from runtime.arming.watchdogs import is_service, motors, watchdogs
from runtime.control.realtime import Item

NOW_NS = 10_000_000_000

# E-stop and drive-enable


def test_a_released_estop_passes() -> None:
    assert estop("released", [], alive=True, run_without=False) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"state": "pressed"}, "is pressed"),
        ({"state": "none"}, "configure [safety.estop]"),
        ({"alive": False}, "nobody watches"),
        ({"latched": ["the loop stalled"]}, "the loop stalled; reset once the cause is gone"),
    ],
)
def test_anything_else_of_the_estop_does_not(given: dict[str, Any], words: str) -> None:
    good: dict[str, Any] = {"state": "released", "latched": [], "alive": True, "run_without": False}
    (reason,) = estop(**{**good, **given})
    assert words in reason


def test_a_robot_without_an_estop_passes_only_when_the_config_says_so() -> None:
    assert estop("none", [], alive=True, run_without=True) == []


def test_all_that_is_latched_is_told() -> None:
    assert len(estop("pressed", ["the e-stop is pressed", "a stall"], alive=False, run_without=False)) == 2


@pytest.mark.parametrize(
    ("wired", "enabled", "cut", "passes"),
    [
        (True, False, True, True),
        (True, False, False, False),
        (True, True, False, True),  # power is meant to flow
        (False, False, False, True),  # nothing to look at
    ],
)
def test_drive_enable(wired: bool, enabled: bool, cut: bool, passes: bool) -> None:
    assert (drive_enable(wired, enabled, cut) == []) is passes


# Watchdogs


def test_watchdogs_of_the_machine() -> None:
    armed, idle = (SimpleNamespace(name=f"watchdog {on}", armed=on) for on in (True, False))
    assert watchdogs([armed], service=True) == []
    assert watchdogs([], service=False) == []
    (reason,) = watchdogs([armed, idle], service=True)
    assert reason.startswith("watchdog False is not armed")
    (reason,) = watchdogs([], service=True)
    assert "set WatchdogSec=2" in reason


def test_a_service_is_what_systemd_started_and_listens_to() -> None:
    assert is_service({"INVOCATION_ID": "x", "NOTIFY_SOCKET": "/run/x"})
    assert not is_service({"NOTIFY_SOCKET": "/run/x"})  # a container's manager
    assert not is_service({"INVOCATION_ID": "x"})  # a shell within a session


def test_a_bus_without_watchdogs_is_refused_unless_it_is_accepted_by_name() -> None:
    good, bad, worse = (
        SimpleNamespace(name=name, unwatched=unwatched)
        for name, unwatched in (("good", []), ("bad", ["hip", "knee"]), ("worse", ["neck"]))
    )
    first, second = motors([good, bad, worse], set())
    assert first.startswith("bus bad: the motors of hip, knee have no watchdog")
    assert second.startswith("bus worse: the motors of neck")
    (only,) = motors([good, bad, worse], {"worse", "good"})
    assert only == first
    assert motors([good, bad, worse], {"bad", "worse"}) == []


# Joints


class Arm:
    """A bus with two joints that are as they should be."""

    def __init__(self) -> None:
        self.joints = [
            Joint(
                name=name,
                bus="left",
                id=number,
                model="XM430-W350",
                position_min=-1.0,
                position_max=1.0,
                velocity_max=1.0,
                acceleration_max=1.0,
            )
            for number, name in enumerate(("waist", "elbow"), 1)
        ]
        self.name, self.index = "left", np.array([1, 2])
        self.state = JointState(4)
        self.state.position[1:3] = 0.5
        self.state.temperature[1:3] = 40.0
        self.state.stamp_ns[1:3] = NOW_NS - 1_000_000

    def explain(self, fault: int) -> str:
        return f"code {fault}"

    def look(self) -> list[str]:
        return joints([self], self.state, 70.0, NOW_NS)  # type: ignore[list-item]


def _set(array: str, value: float) -> Callable[[Arm], None]:
    return lambda arm: getattr(arm.state, array).__setitem__(2, value)


def test_joints_that_are_well_pass_up_to_the_limits() -> None:
    arm = Arm()
    assert arm.look() == []
    arm.state.position[2], arm.state.temperature[2] = 1.05, 70.0
    arm.state.stamp_ns[2] = NOW_NS - 1_000_000_000
    assert arm.look() == []


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (_set("position", math.nan), "was never read"),
        (_set("position", 1.11), "stands at 1.110 rad, outside -1 .. 1: move it back by hand"),
        (_set("position", -1.11), "stands at -1.110 rad"),
        (_set("stamp_ns", NOW_NS - 1_100_000_000), "last read 1.1 s ago"),
        (_set("fault", 5), "code 5"),
        (_set("temperature", 70.5), "°C hot, at most 70 °C"),
        (_set("temperature", math.nan), "does not tell its temperature"),
    ],
)
def test_one_that_is_not_is_named(harm: Callable[[Arm], None], words: str) -> None:
    arm = Arm()
    harm(arm)
    (reason,) = arm.look()
    assert reason.startswith("joint elbow (bus left, id 2): ")
    assert words in reason


def test_every_reason_of_every_joint_is_told() -> None:
    arm = Arm()
    arm.state.fault[1:3], arm.state.position[1:3], arm.state.temperature[1:3] = 7, 2.0, 90.0
    assert len(arm.look()) == 6


# Sensors


def test_sensors() -> None:
    def named(name: str, stamp_ns: int) -> Any:
        return SimpleNamespace(name=name, stamp_ns=stamp_ns)

    ages = {"imu": 0.1, "camera": 0.1, "foot": 0.1}
    assert sensors([named("imu", NOW_NS - 100_000_000)], ages, NOW_NS) == []
    late = [named("imu", NOW_NS), named("camera", 0), named("foot", NOW_NS - 101_000_000)]
    assert sensors(late, ages, NOW_NS) == [
        "sensor camera: no reading yet",
        "sensor foot: last reading 0.101 s ago, at most 0.1 s is allowed",
    ]


# The policy


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.onnx"
    path.write_bytes(b"weights")
    return path


def test_the_model_that_was_meant_passes(file: Path) -> None:
    found = ModelFile.read(file)
    assert found.sha256 == hashlib.sha256(b"weights").hexdigest()
    assert model(found, None) == model(found, found.sha256) == model(None, None) == []


def test_another_model_does_not(file: Path) -> None:
    (reason,) = model(ModelFile.read(file), "0" * 64)
    assert hashlib.sha256(b"weights").hexdigest() in reason
    assert f"expected {'0' * 64} (policy.sha256)" in reason


@pytest.mark.parametrize("how", ["written", "replaced", "removed"])
def test_one_that_was_changed_after_the_start_does_not(file: Path, how: str) -> None:
    found = ModelFile.read(file)
    if how == "written":
        file.write_bytes(b"WEIGHTS")
        os.utime(file, ns=(0, found.version[2] + 1))
    elif how == "replaced":
        other = file.with_name("other")
        other.write_bytes(b"weights")
        os.utime(other, ns=(0, found.version[2]))
        os.replace(other, file)
    else:
        file.unlink()
    (reason,) = model(found, found.sha256)
    assert ("cannot be read any more" if how == "removed" else "has changed since the daemon started") in reason


def test_one_that_could_not_be_read_does_not(tmp_path: Path) -> None:
    (reason,) = model(ModelFile.read(tmp_path / "nothing"), None)
    assert "could not be read" in reason


def test_a_policy_has_to_be_ready() -> None:
    assert policy(configured=True, ready=True, error="") == []
    assert policy(configured=False, ready=False, error="") == []
    assert "wait for its first inference" in policy(configured=True, ready=False, error="")[0]
    assert policy(configured=True, ready=False, error="no GPU") == ["the policy is not ready: no GPU"]


# The machine


def test_disk(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there" / "yet"
    free_mb = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize / 1e6
    assert disk(folder, 0.0) == []
    assert disk(folder, free_mb / 2) == []
    (reason,) = disk(folder, free_mb * 2 + 1000)
    assert f"the disk of {folder} has" in reason
    assert "(safety.arming.disk_free)" in reason


def test_clock() -> None:
    def fails() -> bool:
        raise OSError(38, "Function not implemented")

    assert clock(True, lambda: True) == []
    assert "is not synchronised" in clock(True, lambda: False)[0]
    assert "does not tell" in clock(True, fails)[0]
    assert clock(False, lambda: False) == clock(False, fails) == []


def test_the_kernel_answers_about_its_clock() -> None:
    assert is_synchronised() in (True, False)


def test_realtime() -> None:
    items = [Item("scheduler", True, "FIFO 50"), Item("memory lock", False, "not permitted")]
    assert realtime(items, required=False) == []
    assert realtime(items[:1], required=True) == []
    (reason,) = realtime(items, required=True)
    assert reason.startswith("real time, memory lock: not permitted")
