"""A small good config that the tests bend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.config.config import Config
from runtime.config.errors import ConfigError
from runtime.config.load import load

ROBOT = """
[robot]
name = "leg"

[control]
rate = 400.0

[safety]
run_without_estop = true

[safety.drive_enable]
type = "emulated"
path = "{run}/gpio.sock"
line = "drive_enable"

[[bus]]
name = "can"
type = "damiao"
interface = "unix"
channel = "{run}/can"

[[joint]]
name = "hip"
bus = "can"
id = 1
model = "DM4310"
position_min = -1.0
position_max = 1.0
velocity_max = 5
acceleration_max = 50.0
torque_max = 8.0
kp = 20.0
kd = 0.5

[[joint]]
name = "knee"
bus = "can"
id = 2
model = "DM4310"
position_min = -2.0
position_max = 0.0
velocity_max = 5.0
acceleration_max = 50.0
torque_max = 8.0
kp = 20.0
kd = 0.5

[[sensor]]
name = "imu"
type = "datagram"
path = "{run}/imu.sock"
fields = { gyro = 3, orientation = 4 }

[policy]
model = "policy.onnx"
rate = 50.0
horizon = 10

[[policy.observation]]
source = "joint.position"

[[policy.observation]]
source = "projected_gravity"
sensor = "imu.orientation"

[[policy.observation]]
source = "command"
names = ["vx"]

[[policy.action]]
joints = ["knee", "hip"]
scale = [0.5, 0.25]

[policy.command.vx]
min = -1.0
max = 1.0

[[policy.schedule]]
at = 1.0
set = { vx = 0.5 }

[emulated]
model = "leg.xml"
sensors = { imu = 500.0 }
"""

Load = Callable[..., Config]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the config `leg.toml` and the files that it names."""
    (tmp_path / "leg.toml").write_text(ROBOT)
    (tmp_path / "policy.onnx").touch()
    (tmp_path / "leg.xml").touch()
    return tmp_path


@pytest.fixture
def load_with(folder: Path) -> Load:
    """Load the config with some values replaced."""

    def load_it(**options: Any) -> Config:
        return load(folder / "leg.toml", run_dir="/run/leg", **options)

    return load_it


@pytest.fixture
def mistakes_of(folder: Path, load_with: Load) -> Callable[[dict[str, Any]], list[str]]:
    """The mistakes of the config with some values replaced; the temporary folder is written as `~`."""

    def find(overrides: dict[str, Any]) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load_with(overrides=overrides)
        return [str(mistake).replace(str(folder), "~") for mistake in caught.value.mistakes]

    return find
