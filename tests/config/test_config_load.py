"""What a good config becomes: defaults, places, overrides, plans for the buses, the emulator's document."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drivers.emulated.spec import RobotSpec
from runtime.config.config import Config
from runtime.config.emulator import emulator_spec
from runtime.config.errors import ConfigError
from runtime.config.load import load
from runtime.config.paths import places, run_directory, state_directory
from runtime.policy.tasks import Task

Load = Callable[..., Config]


def test_a_good_config_loads(load_with: Load, folder: Path) -> None:
    config = load_with()
    assert [joint.name for joint in config.joints] == ["hip", "knee"]
    assert config.buses[0].joints == config.joints
    assert config.buses[0].index == (0, 1)
    assert config.policy is not None
    assert config.policy.model == folder / "policy.onnx"
    assert config.policy.python == sys.executable
    assert config.policy.interval == 5
    assert config.emulated is not None
    assert config.emulated.model == folder / "leg.xml"


def test_tasks_are_in_the_order_of_the_config(load_with: Load) -> None:
    tasks = {"place": {"prompt": "place it"}, "pick": {"id": 3, "prompt": "pick the cube"}}
    policy = load_with(overrides={"policy.task": tasks, "policy.first_task": "pick"}).policy
    assert policy is not None
    assert policy.tasks == [Task("place", None, "place it"), Task("pick", 3.0, "pick the cube")]
    assert not policy.any_prompt
    fallback = {
        "model": "policy.onnx",
        "rate": 50.0,
        "horizon": 10,
        "observation": [{"source": "task"}],
        "action": [{}],
    }
    with pytest.raises(ConfigError, match=r"policy\.fallback\.observation.*no id in task place"):
        load_with(overrides={"policy.task": tasks, "policy.fallback": fallback})


def test_index_follows_the_robots_order_not_the_buses(load_with: Load, folder: Path) -> None:
    text = (folder / "leg.toml").read_text()
    text = text.replace(
        "[[sensor]]\n",
        '[[bus]]\nname = "two"\ntype = "damiao"\ninterface = "unix"\nchannel = "{run}/two"\n\n[[sensor]]\n',
    )
    (folder / "leg.toml").write_text(text)
    config = load_with(overrides={"joint.hip.bus": "two"})
    assert [(plan.options.name, plan.index) for plan in config.buses] == [("can", (1,)), ("two", (0,))]


def test_defaults_are_on_the_safe_side(load_with: Load) -> None:
    config = load_with(overrides={"safety": None, "policy": None, "sensor": None, "emulated": None})
    assert config.safety.estop is None
    assert not config.safety.run_without_estop
    assert config.socket.group is None
    assert config.recording.enabled
    assert config.policy is None
    assert any("no [safety.estop]: the daemon runs but refuses to arm" in warning for warning in config.warnings)
    assert any("no [safety.drive_enable]" in warning for warning in config.warnings)


@pytest.mark.parametrize(("rate", "given", "stall"), [(400, None, 0.02), (50, None, 0.06), (400, 0.005, 0.005)])
def test_stall_depends_on_the_rate(rate: float, given: float | None, stall: float, load_with: Load) -> None:
    config = load_with(overrides={"control.rate": rate, "policy.rate": 10, "safety.stall": given})
    assert config.stall_s == pytest.approx(stall)


@pytest.mark.parametrize(
    ("rate", "stall", "given", "period"),
    [(400, None, None, 0.02), (50, None, None, 0.06), (400, 0.005, None, 0.02), (400, None, 0.01, 0.01)],
)
def test_the_heartbeat_is_as_long_as_a_stall_unless_told_otherwise(
    rate: float, stall: float | None, given: float | None, period: float, load_with: Load
) -> None:
    heartbeat = {"type": "gpio", "chip": "/dev/gpiochip0", "line": 4}
    safety = {"safety.stall": stall, "safety.heartbeat": heartbeat, "safety.heartbeat_period": given}
    config = load_with(overrides={"control.rate": rate, "policy.rate": 10, **safety})
    assert config.heartbeat_period_s == pytest.approx(period)


def test_a_heartbeat_period_without_a_line_is_warned_of(load_with: Load) -> None:
    warnings = load_with(overrides={"safety.heartbeat_period": 0.1}).warnings
    assert "safety.heartbeat_period has no effect without [safety.heartbeat]; remove it" in warnings


def test_no_hardware_watchdog_is_used_unless_it_is_configured(load_with: Load) -> None:
    assert load_with().safety.watchdog is None
    config = load_with(overrides={"safety.watchdog": {"device": "/dev/watchdog0"}})
    assert config.safety.watchdog is not None
    assert (str(config.safety.watchdog.device), config.safety.watchdog.timeout) == ("/dev/watchdog0", 10)


def test_an_estop_needs_no_word_of_warning(load_with: Load) -> None:
    estop = {"type": "gpio", "chip": "/dev/gpiochip0", "line": 17}
    assert load_with(overrides={"safety.estop": estop, "safety.run_without_estop": None}).warnings == ()
    assert load_with(overrides={"safety.estop": estop}).warnings == (
        "safety.run_without_estop has no effect while [safety.estop] is there; remove it",
    )


def test_a_robot_has_no_stages_unless_it_is_configured(load_with: Load) -> None:
    assert load_with().safety.stages is None
    stages = load_with(overrides={"safety.stages": {}}).safety.stages
    assert stages is not None
    assert (stages.run_minutes, stages.single_person) == (10.0, False)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"bus.can.run_without_watchdog": True}, "bus can: run_without_watchdog is true"),
        ({"safety.stages": {"single_person": True}}, "safety.stages.single_person is true"),
    ],
)
def test_what_takes_protection_away_is_warned_of(overrides: dict[str, Any], words: str, load_with: Load) -> None:
    assert not any(warning.startswith(words) for warning in load_with().warnings)
    assert any(warning.startswith(words) for warning in load_with(overrides=overrides).warnings)


def test_placeholders_are_replaced_in_values_and_in_defaults(
    load_with: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/leg")
    config = load_with(overrides={"robot.description": "{run} is only text here"})
    assert config.buses[0].options.model_dump()["channel"] == "/run/leg/can"
    assert config.socket.path == "/run/leg/reflexd.sock"
    assert config.recording.directory == Path("/var/lib/leg/recordings")
    assert config.robot.description == "{run} is only text here"


@pytest.mark.parametrize(
    ("env", "run"),
    [
        ({"RUNTIME_DIRECTORY": "/run/reflexd:/run/other", "XDG_RUNTIME_DIR": "/run/user/7"}, "/run/reflexd"),
        ({"XDG_RUNTIME_DIR": "/run/user/7"}, "/run/user/7/reflexd"),
    ],
)
def test_where_a_run_keeps_its_sockets(env: dict[str, str], run: str) -> None:
    assert run_directory(env) == Path(run)
    assert places(env={**env, "HOME": "/home/me"}).run == Path(run)
    assert places("/elsewhere", env=env).run == Path("/elsewhere")


@pytest.mark.parametrize(
    ("env", "state"),
    [
        ({"STATE_DIRECTORY": "/var/lib/reflexd", "XDG_STATE_HOME": "/state"}, "/var/lib/reflexd"),
        ({"XDG_STATE_HOME": "/state"}, "/state/reflexd"),
        ({"HOME": "/home/me"}, "/home/me/.local/state/reflexd"),
    ],
)
def test_where_data_is_kept(env: dict[str, str], state: str) -> None:
    assert state_directory(env) == Path(state)


def test_without_any_environment_the_run_directory_is_the_users_own() -> None:
    assert run_directory({}).name.startswith("reflexd-")


def test_a_socket_path_that_the_kernel_would_not_take_is_a_mistake(
    mistakes_of: Callable[[dict[str, Any]], list[str]],
) -> None:
    longest = "{run}/" + (107 - len("/run/leg/")) * "x"
    assert mistakes_of({"bus.can.channel": longest + "x", "socket.path": "/" + 106 * "y", "robot.name": "?"}) == [
        'robot.name: found "?", expected a name: letters, digits and _, a letter first; change it',
        f"bus[0] can . channel: found a path of 108 bytes (/run/leg/{99 * 'x'}), expected at most 107, "
        "the longest that a Unix socket can have; choose a shorter run directory or name",
    ]


def test_an_unknown_placeholder_is_a_mistake(mistakes_of: Callable[[dict[str, Any]], list[str]]) -> None:
    assert mistakes_of({"bus.can.channel": "{home}/can"}) == [
        "bus[0] can . channel: found the placeholder {home}, expected {run} or {state}; no other one is known"
    ]


def test_overrides_reach_every_key(load_with: Load) -> None:
    config = load_with(
        overrides={"policy.inline": True, "joint.knee.kp": 30.0, "joint.0.kp": 10.0, "recording.enabled": False}
    )
    assert config.policy is not None
    assert config.policy.inline
    assert [joint.kp for joint in config.joints] == [10.0, 30.0]
    assert not config.recording.enabled


@pytest.mark.parametrize("key", ["joint.ankle.kp", "robot.name.first", "joint.7.kp", "joint"])
def test_an_override_of_nothing_is_a_mistake(key: str, mistakes_of: Callable[[dict[str, Any]], list[str]]) -> None:
    assert mistakes_of({key: 1})[0].startswith(f"{key}: found")


def test_a_backend_that_another_interpreter_has_is_left_to_it(load_with: Load) -> None:
    config = load_with(overrides={"policy.backend": "its_own", "policy.python": "sh", "policy.model": None})
    assert config.policy is not None
    assert config.policy.python is not None
    assert Path(config.policy.python).is_absolute()


def test_the_emulator_gets_the_robot_that_the_config_describes(load_with: Load, folder: Path) -> None:
    spec = emulator_spec(
        load_with(overrides={"joint.knee.sign": -1, "bus.can.reply_offset": 0x20, "emulated.seed": 7})
    )
    assert spec["joints"][1] == {
        "name": "knee",
        "bus": "can",
        "id": 2,
        "model": "DM4310",
        "sign": -1,
        "offset": 0.0,
        "reduction": 1.0,
        "reply_id": 0x22,
    }
    assert spec["buses"] == [{"name": "can", "type": "damiao", "interface": "unix", "channel": "/run/leg/can"}]
    assert spec["sensors"] == [
        {"name": "imu", "path": "/run/leg/imu.sock", "fields": {"gyro": 3, "orientation": 4}, "rate": 500.0}
    ]
    read = RobotSpec.model_validate_json(json.dumps(spec))
    assert (read.model, read.seed, read.gpio, read.priority) == (
        folder / "leg.xml",
        7,
        Path("/run/leg/gpio.sock"),
        30,
    )


def test_the_emulator_is_at_the_other_end_of_a_real_cable(load_with: Load) -> None:
    spec = emulator_spec(load_with(overrides={"emulated.ports": {"can": "can1"}}))
    assert spec["buses"] == [{"name": "can", "type": "damiao", "interface": "socketcan", "channel": "can1"}]


def test_no_emulated_section_no_emulator(load_with: Load) -> None:
    with pytest.raises(ValueError, match=r"no \[emulated\] section"):
        emulator_spec(load_with(overrides={"emulated": None}))


def test_loading_imports_nothing_heavy(folder: Path) -> None:
    program = (
        "import sys; from runtime.config.load import load; load(sys.argv[1]); "
        "print([m for m in ('mujoco', 'onnxruntime', 'torch', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, folder / "leg.toml"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_paths_start_at_the_configs_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    config = load(folder / "leg.toml", overrides={"policy.model": "./policy.onnx", "recording.directory": "tapes"})
    assert config.policy is not None
    assert config.policy.model == folder / "policy.onnx"
    assert config.recording.directory == folder / "tapes"
