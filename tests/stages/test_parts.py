"""What a sign-off is about: a change of anything that matters is seen, in the part that it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.config.load import load
from runtime.stages.parts import parts
from tests import robots

POLICY = """
[policy]
backend = "some:Class"
rate = 50.0
horizon = 50
[[policy.observation]]
source = "command"
[[policy.action]]
target = "joint.position"
[policy.command.vx]
min = -1.0
max = 1.0
"""

Parts = Callable[..., dict[str, str]]


@pytest.fixture
def of(tmp_path: Path) -> Parts:
    path = robots.write(tmp_path, [("dynamixel", 1), ("damiao", 1)], 200.0, POLICY)

    def of(model: str | None = None, **overrides: object) -> dict[str, str]:
        given = {key.replace("__", "."): value for key, value in overrides.items()}
        return parts(load(path, run_dir=tmp_path, overrides=given), {"model": model} if model else {})

    return of


def test_the_same_robot_has_the_same_parts(of: Parts) -> None:
    assert of() == of()
    entries = {"bus.b0", "bus.b1", "joint.j0", "joint.j1"}
    assert set(of()) == {"control", "degraded", "safety", "policy", "bus", "joint", "sensor"} | entries


@pytest.mark.parametrize(
    ("key", "value", "part"),
    [
        ("joint.j0.offset", 0.1, "joint.j0"),
        ("joint.j0.sign", -1, "joint.j0"),
        ("joint.j0.reduction", 1.5, "joint.j0"),
        ("joint.j1.position_max", 1.0, "joint.j1"),
        ("joint.j1.velocity_max", 6.0, "joint.j1"),
        ("joint.j1.kp", 21.0, "joint.j1"),
        ("bus.b1.watchdog", 0.4, "bus.b1"),
        ("control.rate", 100.0, "control"),
        ("safety.stall", 0.2, "safety"),
        ("safety.stages", {}, "safety"),
        ("policy.horizon", 40, "policy"),
    ],
)
def test_a_change_changes_its_part_and_no_other(of: Parts, key: str, value: object, part: str) -> None:
    before, after = of(), of(**{key: value})
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == {part}


def test_the_model_is_its_content_not_its_place(of: Parts, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").touch()
    assert of(model="aa", policy__model="a.onnx") == {**of(), "model": "aa"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("policy.command.vx.max", 2.0),
        ("policy.python", "python3"),
        ("robot.description", "x"),
        ("recording.enabled", False),
        ("realtime.priority", 40),
    ],
)
def test_what_reload_may_change_and_what_moves_nothing_does_not_count(of: Parts, key: str, value: object) -> None:
    assert of(**{key: value}) == of()
