"""Whatever a file holds: a config or a ConfigError, nothing else."""

from __future__ import annotations

import copy
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.config.errors import ConfigError
from runtime.config.load import LISTS, SECTIONS, build
from runtime.config.paths import Places

GOOD = """
[robot]
name = "leg"
[control]
rate = 400.0
[safety]
[[bus]]
name = "can"
type = "damiao"
channel = "{run}/can"
[[bus]]
name = "arm"
type = "dynamixel"
port = "{run}/arm"
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
bus = "arm"
id = 2
model = "XM430-W350"
position_min = -1.0
position_max = 1.0
velocity_max = 5
acceleration_max = 50.0
[[sensor]]
name = "imu"
type = "datagram"
path = "{run}/imu.sock"
fields = { gyro = 3, orientation = 4 }
[policy]
backend = "here:Policy"
rate = 50.0
horizon = 10
command.vx = { min = -1.0, max = 1.0 }
schedule = [{ at = 1.0, set = { vx = 0.5 } }]
observation = [{ source = "joint.position", scale = [1.0, 2.0] }, { source = "command", names = ["vx"] }]
action = [{ joints = ["knee", "hip"], scale = 0.5 }]
"""

FILE = Path("fuzz.toml")
WHERE = Places(Path("/run/fuzz"), Path("/state/fuzz"))

words = st.sampled_from(
    [
        "can",
        "hip",
        "imu",
        "vx",
        "damiao",
        "dynamixel",
        "datagram",
        "onnx",
        "type",
        "name",
        "bus",
        "{run}/x",
        "{no}",
        "",
    ]
)
scalars = (
    st.booleans()
    | st.integers()
    | st.integers(-3, 300)
    | st.floats()
    | words
    | st.text(max_size=12)
    | st.text(min_size=250, max_size=300)
    | st.just(date(2024, 5, 1))
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from([*SECTIONS, *LISTS]) | st.text(max_size=8)


def attempt(table: dict[str, Any]) -> None:
    try:
        build(FILE, table, WHERE)
    except ConfigError as raised:
        error = raised
    else:
        return
    assert error.mistakes
    assert len(str(error).split("\n")) == len(error.mistakes)


@settings(max_examples=50)
@given(st.dictionaries(keys, values, max_size=6))
def test_any_table(table: dict[str, Any]) -> None:
    attempt(table)


@settings(max_examples=100)
@given(st.data())
def test_a_good_config_with_a_few_values_replaced(data: st.DataObject) -> None:
    table: Any = tomllib.loads(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        place: Any = table
        while True:
            choices = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not choices:
                break
            key = data.draw(st.sampled_from(choices))
            if isinstance(place[key], dict | list) and place[key] and data.draw(st.integers(0, 9)):
                place = place[key]
                continue
            action = data.draw(st.sampled_from(["replace", "remove", "add"]))
            if action == "replace":
                place[key] = copy.deepcopy(data.draw(values))
            elif action == "remove":
                del place[key]
            elif isinstance(place, dict):
                place[data.draw(words | st.text(max_size=6))] = data.draw(values)
            else:
                place.append(data.draw(values))
            break
    attempt(table)


def test_the_seed_of_the_fuzz_is_good() -> None:
    try:
        build(FILE, tomllib.loads(GOOD), WHERE)
    except ConfigError as error:
        pytest.fail(str(error))
