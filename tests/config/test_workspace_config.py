from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.cli.check import check
from runtime.config import rules
from runtime.config.errors import ConfigError
from runtime.config.load import load
from runtime.config.workspace import space

CONFIGS = Path(__file__).parents[2] / "configs"
WORKSPACE = {
    "model": "leg.xml",
    "tool": "foot",
    "planes": [{"normal": [0.0, 0.0, 1.0], "offset": 0.0}],
}
MODEL = """<mujoco><worldbody><body name="thigh"><joint name="hip"/><geom size="0.1"/>
<body name="foot" pos="0 0 -1"><joint name="{knee}"/><geom size="0.1"/></body></body></worldbody></mujoco>"""

Mistakes = Callable[[dict[str, Any]], list[str]]


def test_without_a_workspace_there_is_none(load_with: Callable[..., Any]) -> None:
    assert space(load_with()) is None


def test_a_workspace_is_made_from_the_model(folder: Path, load_with: Callable[..., Any]) -> None:
    (folder / "leg.xml").write_text(MODEL.format(knee="knee"))
    made = space(load_with(overrides={"safety.workspace": WORKSPACE}))
    assert made is not None
    assert made.clearances([0.0, 0.0])[0] == [-1.0]


def test_what_the_model_lacks_is_told_with_file_and_key(folder: Path, load_with: Callable[..., Any]) -> None:
    (folder / "leg.xml").write_text(MODEL.format(knee="nee"))
    with pytest.raises(ConfigError) as caught:
        space(load_with(overrides={"safety.workspace": {**WORKSPACE, "tool": "toe"}}))
    assert str(caught.value).replace(str(folder), "~").splitlines() == [
        "~/leg.toml: safety.workspace: found no hinge or slide joint knee or knee_joint; it has hip, nee, "
        "in the model ~/leg.xml; correct one",
        "~/leg.toml: safety.workspace: found no site or body toe; it has none and world, thigh, foot, "
        "in the model ~/leg.xml; correct one",
    ]


def test_check_looks_into_the_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "leg.xml").write_text(MODEL.format(knee="nee"))
    text = (folder / "leg.toml").read_text()
    section = (
        '[safety.workspace]\nmodel = "leg.xml"\ntool = "foot"\nplanes = [{ normal = [0, 0, 1], offset = 0 }]\n'
    )
    (folder / "leg.toml").write_text(text.replace("[[bus]]", f"{section}[[bus]]", 1))
    assert check(folder / "leg.toml") == 1
    assert "found no hinge or slide joint knee" in capsys.readouterr().err
    (folder / "leg.xml").write_text(MODEL.format(knee="knee"))
    assert check(folder / "leg.toml") == 0


def test_a_missing_extra_is_told(mistakes_of: Mistakes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        rules, "find_spec", lambda name: None if name == "mujoco" else importlib.util.find_spec(name)
    )
    assert mistakes_of({"safety.workspace": WORKSPACE}) == [
        "safety.workspace: found no package mujoco, expected it because of this section; install the extra "
        "`model` (pip install 'reflexd[model]') or remove the section"
    ]


def test_a_missing_model_is_told(mistakes_of: Mistakes) -> None:
    (told,) = mistakes_of({"safety.workspace": {**WORKSPACE, "model": "arm.xml"}})
    assert told.startswith("safety.workspace.model: found no file at ~/arm.xml, expected an MJCF or URDF model")


def test_loading_the_demo_imports_no_simulator() -> None:
    assert load(CONFIGS / "demo.toml").safety.workspace is not None, (
        "what test_loading_imports_nothing_heavy is about"
    )


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            {"joint.hip.jerk_max": 99.0},
            "joint[0] hip: found jerk_max 99, expected at least 100 (2 acceleration_max / 1 s): a stop takes so "
            "much longer; raise it",
        ),
        (
            {"joint.hip.torque_rate_max": 99.0, "joint.hip.kp": 0.0},
            "joint[0] hip: found torque_rate_max without torque_max, kp above 0 and kd, from which the motor's "
            "torque follows; add them or remove it",
        ),
        ({"joint.hip.smoothing": 0.0}, "joint[0] hip . smoothing: found 0.0, expected a number above 0"),
    ],
)
def test_mistakes_of_a_joint(mistakes_of: Mistakes, overrides: dict[str, Any], told: str) -> None:
    (mistake,) = mistakes_of(overrides)
    assert mistake.startswith(told)
