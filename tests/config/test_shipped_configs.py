"""The configs that we ship are good, and the emulator understands them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from drivers.emulated.spec import RobotSpec
from runtime.config.emulator import emulator_spec
from runtime.config.errors import ConfigError
from runtime.config.load import load
from runtime.policy.terms import ActionMap, ObservationBuilder

CONFIGS = Path(__file__).parents[2] / "configs"
GO1 = CONFIGS.parents[1] / "shared/robots/go1"


def sizes(name: str) -> tuple[int, int]:
    """Length of the observation and of an action."""
    config = load(CONFIGS / name)
    assert config.policy is not None
    joints = [joint.name for joint in config.joints]
    actions = ActionMap(config.policy.action, joints)
    sensors = [plan.driver(plan.options) for plan in config.sensors]
    observation = ObservationBuilder(
        config.policy.observation, joints, sensors, list(config.policy.command), actions.size
    )
    return observation.size, actions.size


def test_demo() -> None:
    config = load(CONFIGS / "demo.toml", run_dir="/run/demo")
    assert config.warnings == ()
    assert sizes("demo.toml") == (28, 7)
    spec = RobotSpec.model_validate_json(json.dumps(emulator_spec(config)))
    assert len(spec.joints) == 7


def test_hinges() -> None:
    config = load(CONFIGS / "hinges.toml", run_dir="/run/hinges")
    assert config.warnings == ()
    assert sizes("hinges.toml") == (2, 2)
    assert len(RobotSpec.model_validate_json(json.dumps(emulator_spec(config))).joints) == 2


@pytest.mark.skipif(not GO1.is_dir(), reason=f"the Go1's model and policy are not at {GO1}")
def test_go1() -> None:
    config = load(CONFIGS / "go1.toml", run_dir="/run/go1")
    assert config.warnings == ()
    assert sizes("go1.toml") == (48, 12)
    RobotSpec.model_validate_json(json.dumps(emulator_spec(config)))
    assert config.policy is not None
    (action,) = config.policy.action
    home = (GO1 / "go1.xml").read_text().split('name="home" qpos="')[1].split('"')[0].split()
    assert action.offset == pytest.approx([float(word) for word in home[-12:]])
    actions = ActionMap(config.policy.action, [j.name for j in config.joints])
    goals = actions.curve.through(np.zeros((1, 12)))[:, 0]
    low, high = ([getattr(j, f"position_{end}") for j in config.joints] for end in ("min", "max"))
    assert ((low < goals) & (goals < high)).all()


def test_go1_says_where_it_looked_for_what_is_not_there(tmp_path: Path) -> None:
    folder = tmp_path / "reflexd/configs"
    folder.mkdir(parents=True)
    (folder / "go1.toml").write_text((CONFIGS / "go1.toml").read_text())
    with pytest.raises(ConfigError) as caught:
        load(folder / "go1.toml")
    looked = tmp_path / "shared/robots/go1"
    assert [mistake.text.split(", expected")[0] for mistake in caught.value.mistakes] == [
        f"found no file at {looked}/policy.onnx",
        f"found no file at {looked}/go1.xml",
    ]
