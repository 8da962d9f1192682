"""Every mistake is reported, all at once, with its key, what was found, what was expected and what to do."""

# ruff: noqa: E501
from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from drivers.motors.damiao.bus import DamiaoBus
from runtime.config.errors import ConfigError
from runtime.config.load import load

Mistakes = Callable[[dict[str, Any]], list[str]]

OPENPI = {"policy.backend": "openpi", "policy.model": None}

FIELDS = [
    (
        {"control.rate": 0},
        "control.rate: found 0, expected a number of at least 1 (ticks per second, Hz); change it",
    ),
    (
        {"policy.backend": "a:B", "policy.model": None, "policy.sha256": "ab" * 32},
        "policy.sha256: found a checksum, expected policy.model beside it; name the file",
    ),
    (
        {**OPENPI, "policy.options": {"keys": {"state": [0, 7]}}},
        "policy.options.url: found nothing, expected ws://HOST:PORT or wss://...; change it",
    ),
    (
        {**OPENPI, "policy.options": {"url": "wss://gpu", "keys": {"state": [0, 7]}, "port": 1}},
        "policy.options.port: found an unknown option, expected one of url, ca, deadline, keys, prompt, actions, columns; change it",
    ),
    (
        {
            **OPENPI,
            "policy.backend": "lerobot",
            "policy.options": {
                "url": "grpc://gpu",
                "keys": {"observation.state": [0, 7], "effort": [7, 9]},
                "policy": "lab/pick",
                "type": "act",
                "device": "cuda",
            },
        },
        "policy.options.keys: found observation.state, effort, expected observation.state and pictures called "
        "observation.images.NAME with size and without quality: the server takes nothing else; change it",
    ),
    (
        {
            **OPENPI,
            "policy.timeout": 1.0,
            "policy.options": {"url": "wss://gpu", "keys": {"s": [0, 7]}, "deadline": 0.9},
        },
        "policy.options.deadline: found 0.9, expected seconds, at most 0.8: 80% of policy.timeout; change it",
    ),
    (
        {**OPENPI, "policy.model": "policy.onnx", "policy.options": {"url": "wss://gpu", "keys": {"s": [0, 7]}}},
        'policy.model: found "policy.onnx", expected nothing: the server has the model; remove it',
    ),
    (
        {"policy.sha256": "AB12"},
        'policy.sha256: found "AB12", expected 64 digits, 0-9 and a-f; copy what `sha256sum` prints',
    ),
    (
        {"safety.stages": {"run_minutes": 0}},
        "safety.stages.run_minutes: found 0, expected a number above 0 (how long it must have run at a stage without a safety event before `reflexctl promote`, minutes); change it",
    ),
    (
        {"safety.arming": {"temperature_max": -5}},
        "safety.arming.temperature_max: found -5, expected a number above 0 (no motor may be hotter, °C); change it",
    ),
    ({"control.rate": "fast"}, 'control.rate: found "fast", expected a number (ticks per second, Hz); change it'),
    ({"control.rate": True}, "control.rate: found true, expected a number (ticks per second, Hz); change it"),
    ({"control.rate": None}, "control.rate: found nothing, expected a value (ticks per second, Hz); add it"),
    (
        {"control.missed_limit": 2**70},
        "control.missed_limit: found a whole number of more than 64 bits, expected a smaller one; shorten it",
    ),
    (
        {"control.missed_limits": 3},
        'control.missed_limits: found an unknown key, expected "rate" or "missed_limit"; did you mean "missed_limit"?',
    ),
    ({"robot": 3}, "robot: found 3, expected a table; write [robot]"),
    ({"control": None}, "control: found nothing, expected [control]; add it"),
    ({"bus": {"name": "can"}}, "bus: found a table, expected a list of tables; write [[bus]]"),
    ({"joint": []}, "joint: found nothing, expected [[joint]]; add it"),
    (
        {"robot.name": "my robot"},
        'robot.name: found "my robot", expected a name: letters, digits and _, a letter first; change it',
    ),
    (
        {"robot.description": date(2024, 5, 1)},
        "robot.description: found the date 2024-05-01, expected text or a number; put text in quotes",
    ),
    (
        {"joint.hip.position_min": "low"},
        'joint[0] hip . position_min: found "low", expected a number (lowest joint angle that may be commanded, rad); '
        "change it",
    ),
    (
        {"joint.hip.position_min": math.nan},
        "joint[0] hip . position_min: found nan, expected a finite number; write the number",
    ),
    ({"joint.hip.sign": 2}, "joint[0] hip . sign: found 2, expected 1 or -1; write one of these"),
    (
        {"joint.hip.after_stop": "fall"},
        'joint[0] hip . after_stop: found "fall", expected "limp", "hold" or "brake"; write one of these',
    ),
    (
        {"joint.hip.after_stop": "brake"},
        'joint[0] hip . after_stop: found "brake", but the driver of bus can says of no motor that it has a holding brake, expected "limp" or "hold"; a joint that would fall wants "hold"',
    ),
    (
        {"safety.slow_speed": 0},
        "safety.slow_speed: found 0, expected a number above 0 (part of its top speed that a joint may use while something asks the robot to go slow); change it",
    ),
    (
        {"joint.1.position_max": -3.0},
        "joint[1] knee: position_min -2.0 is not below position_max -3.0; give the lower angle first",
    ),
    ({"joint.hip.kp": None}, "joint[0] hip: kp is missing; a motor in MIT mode needs it"),
    (
        {"bus.can.type": "damaio"},
        'bus[0] can . type: found "damaio", expected "damiao" or "dynamixel"; did you mean "damiao"?',
    ),
    ({"bus.can.type": None}, "bus[0] can . type: found nothing, expected a value (driver of the bus); add it"),
    (
        {"sensor.imu.type": "lidar"},
        'sensor[0] imu . type: found "lidar", expected "datagram"; correct it, or install the package that offers it '
        "under reflexd.sensors",
    ),
    (
        {"sensor.imu.fields.gyro": 0},
        "sensor[0] imu . fields.gyro: found 0, expected a number of at least 1 (the sensor's fields in order, each with its number of values); change it",
    ),
    (
        {"realtime.cpus": [0, -1]},
        "realtime.cpus[1]: found -1, expected a number of at least 0 (CPUs that the control loop may use); change it",
    ),
    (
        {"safety.estop": {"type": "wire"}},
        'safety.estop.type: found "wire", expected "gpio" or "emulated"; write one of these',
    ),
    ({"safety.estop": {"chip": "/dev/gpiochip0"}}, "safety.estop.type: found nothing, expected a type; add it"),
    (
        {"safety.estop": {"type": "gpio", "chip": "/dev/gpiochip0"}},
        "safety.estop.line: found nothing, expected a value (the line's offset on the chip, or its name); add it",
    ),
    (
        {"safety.estop": {"type": "gpio", "chip": "/dev/gpiochip0", "line": 1.5}},
        "safety.estop.line: found 1.5, expected a whole number or a text (the line's offset on the chip, or its name); "
        "change it",
    ),
    (
        {"safety.watchdog": {"device": "/dev/watchdog0", "timeout": 0}},
        "safety.watchdog.timeout: found 0, expected a number of at least 1 (so long (s) after its last feeding it "
        "resets the machine); change it",
    ),
    (
        {"safety.watchdog": {"device": "/dev/watchdog0", "timeout": 2.5}},
        "safety.watchdog.timeout: found 2.5, expected a whole number (so long (s) after its last feeding it resets "
        "the machine); change it",
    ),
    (
        {"policy.between": "blend"},
        'policy.between: found "blend", expected "interpolate" or "hold"; write one of these',
    ),
    (
        {"policy.observation": []},
        "policy.observation: found an empty list, expected at least 1 entry (what the policy sees, in order); add it",
    ),
    (
        {"policy.observation": [{"source": "joint.angle"}]},
        "policy.observation[0].source: found 'joint.angle', expected one of joint.position, joint.velocity, "
        "joint.torque, last_action, command, task, task.one_hot, projected_gravity, sensor.NAME.FIELD, "
        "camera.NAME, camera.NAME.age",
    ),
    (
        {"policy.command.vx.default": 2.0},
        "policy.command.vx: default 2.0 is outside -1.0 ... 1.0; choose one inside",
    ),
    (
        {"policy.task.pick": {}},
        "policy.task.pick: found neither id nor prompt, expected at least one of them; add it",
    ),
    (
        {"policy.task.pick.prompt": "pick\nplace"},
        "policy.task.pick: prompt: found a prompt with control characters, expected one line of text; change it",
    ),
    (
        {"emulated.sensors.imu": 0},
        "emulated.sensors.imu: found 0, expected a number above 0 (sensors that the emulator feeds and how often, Hz); "
        "change it",
    ),
]

ACROSS = [
    ({"joint.knee.bus": "cam"}, 'joint[1] knee . bus: found "cam", expected "can"; did you mean "can"?'),
    (
        {"joint.knee.id": 1},
        "joint[1] knee . id: found 1, which joint[0] hip on bus can has already, expected an id of its own; "
        "a motor moves one joint",
    ),
    (
        {
            "sensor": [{"name": "imu", "type": "datagram", "path": "/a", "fields": {"orientation": 4}}] * 2,
        },
        'sensor[1] imu . name: found "imu", which sensor[0] has already, expected a name of its own; rename one of them',
    ),
    (
        {"safety.priority": 50},
        "safety.priority: found 50, expected more than realtime.priority (50): the safety task must not wait for the "
        "control loop; raise it",
    ),
    (
        {"safety.stall": 0.004},
        "safety.stall: found 0.004, expected at least 2 periods of the loop (0.005 s at 400 Hz): a single late tick "
        "must not stop the robot; raise it or leave it out",
    ),
    (
        {
            "safety.stall": 0.06,
            "safety.heartbeat": {"type": "gpio", "chip": "/dev/gpiochip0", "line": 4},
            "safety.heartbeat_period": 0.02,
        },
        "safety.heartbeat_period: found 0.02, expected at least half of safety.stall (0.03 s): the loop is checked "
        "every 0.015 s, and an edge must not say more than was checked; raise it or leave it out",
    ),
    (
        {"safety.heartbeat": {"type": "emulated", "path": "{run}/other.sock", "line": "heartbeat"}},
        'safety.heartbeat: found line "heartbeat" at /run/leg/other.sock, expected "heartbeat" at '
        "/run/leg/gpio.sock, where the emulator has it; correct one of them",
    ),
    (
        {"control.rate": 20.0, "policy.rate": 10.0},
        "bus[0] can . watchdog: found 0.1, expected at least 3 periods of the loop (0.15 s at 20 Hz): a single late "
        "tick must not stop the motors; raise it or control.rate",
    ),
    (
        {"policy.rate": 500.0},
        "policy.rate: found 500, expected at most control.rate (400 Hz): a tick takes one action at most; lower it or "
        "raise control.rate",
    ),
    (
        {"policy.seam": "smooth"},
        'policy.seam: found "smooth", expected "replace", "ensemble", "blend" or "prefix"; write one of these',
    ),
    ({"policy.execute": 11}, "policy.execute: found 11, expected at most policy.horizon (10); lower it"),
    (
        {"policy.latency": 2.0},
        "policy.latency: found 2, expected less than policy.timeout (2 s): every inference would count as hung; "
        "lower it or raise policy.timeout",
    ),
    ({"policy.model": None}, "policy.model: found nothing, expected an ONNX file; give its path"),
    (
        {"policy.model": "walk.onnx"},
        'policy.model: found no file at ~/walk.onnx, expected the policy\'s model; put it there or correct "walk.onnx" '
        "(a relative path starts at the config's folder)",
    ),
    (
        {"policy.python": "no-such-python"},
        'policy.python: found "no-such-python", which is no program that can be run, expected a Python interpreter; '
        "give its path or a name in PATH",
    ),
    (
        {"policy.backend": "no_such_backend"},
        'policy.backend: found "no_such_backend", expected "flow", "onnx", "replay", "tensorrt", "torch_export", '
        '"torchscript", "lerobot", "openpi", "triton" or "module:Class"; correct it, or install the package that offers it '
        "under reflexd.policies",
    ),
    (
        {"policy.backend": "replay", "policy.model": None},
        "policy.model: found nothing, expected a recording (MCAP); give its path",
    ),
    (
        {"policy.options": {"threads": 2}},
        "policy.options.threads: found an unknown option, expected delay, device, engine_cache, input, output, plan, "
        "providers or uncertainty; correct it",
    ),
    (
        {"policy.options": {"providers": ["gpu"]}},
        'policy.options.providers: found ["gpu"], expected a list of "tensorrt", "cuda" and "cpu", the preferred one '
        "first; correct it",
    ),
    (
        {"policy.backend": "torchscript", "policy.options": {"device": "gpu"}},
        'policy.options.device: found "gpu", expected "cpu", "cuda" or "cuda:N"; correct it',
    ),
    (
        {"policy.action": [{"scale": [1.0, 2.0, 3.0]}]},
        "policy.action[0]: joint.position: scale has 3 numbers, expected one, or one for each of the 2 values",
    ),
    (
        {"policy.observation": [{"source": "last_action"}, {"source": "sensor.imu.accel"}]},
        "policy.observation[1]: sensor.imu.accel: there is no sensor.imu.accel; found sensor.imu.gyro, "
        "sensor.imu.orientation",
    ),
    (
        {"policy.schedule": [{"at": 2.0, "set": {"vx": 0.0}}, {"at": 2.0, "set": {"vx": 0.0}}]},
        "policy.schedule[1].at: found 2, expected more than 2, the step before; sort the steps",
    ),
    (
        {"policy.schedule": [{"at": 2.0, "set": {"vx": 3.0}}]},
        "policy.schedule[0].set.vx: found 3, expected -1 ... 1, its range; change it",
    ),
    (
        {"policy.schedule": [{"at": 2.0, "set": {"vy": 0.0}}]},
        'policy.schedule[0].set.vy: found an unknown command, expected "vx"; correct it or add [policy.command.vy]',
    ),
    (
        {"emulated.sensors": {"gps": 5.0}},
        'emulated.sensors.gps: found an unknown sensor, expected "imu"; correct it or add the sensor',
    ),
    (
        {"emulated.ports": {"arm": "/dev/ttyUSB0"}},
        'emulated.ports.arm: found an unknown bus, expected "can"; correct it or add the bus',
    ),
    ({"emulated.task": "belt"}, 'emulated.task: found "belt", expected "module:Class"; correct it'),
    (
        {"bus.can.interface": "slcan"},
        'bus[0] can . interface: found "slcan", expected "unix" or "socketcan": the emulator of [emulated] speaks '
        "no other",
    ),
    (
        {"policy.task.pick.id": 1},
        "policy.task.pick.prompt: found nothing, and the policy would never learn of this task; add a prompt, or an "
        'observation with source = "task" or "task.one_hot"',
    ),
    (
        {"policy.task": {"pick": {"id": 1, "prompt": "pick"}, "place": {"id": 1, "prompt": "place"}}},
        "policy.task.place.id: found 1, which task pick has already, expected another one; change it",
    ),
    (
        {
            "policy.task": {"pick": {"prompt": "pick"}, "place": {"id": 1}},
            "policy.observation": [{"source": "task"}],
        },
        "policy.observation[0]: task: no id in task pick; give each task one",
    ),
    (
        {"policy.observation": [{"source": "task.one_hot"}]},
        "policy.observation[0]: task.one_hot: the policy has no tasks; add [policy.task.NAME]",
    ),
    (
        {"policy.task.pick.id": 1, "policy.any_prompt": True, "policy.observation": [{"source": "task"}]},
        "policy.observation[0]: task: it cannot show a prompt of the operator's own words; remove it, or "
        "policy.any_prompt",
    ),
    (
        {"policy.any_prompt": True},
        "policy.any_prompt: found true, but no task that is in force until somebody says otherwise; add "
        "[policy.task.NAME]",
    ),
    (
        {"policy.task.pick.prompt": "pick", "policy.first_task": "wave"},
        'policy.first_task: found "wave", expected "pick"; correct it or add [policy.task.wave]',
    ),
    (
        {"safety.drive_enable": {"type": "gpio", "chip": "/dev/gpiochip0", "line": 1}},
        "emulated.drive_enable: found nothing, expected the file that tells the level of the real line "
        "safety.drive_enable; add it",
    ),
    (
        {"emulated.drive_enable": "/sys/value"},
        "emulated.drive_enable: found a file, but safety.drive_enable is no real line; remove it or set the line's "
        "type to gpio",
    ),
    (
        {"safety.estop": None, "safety.estop_second": {"type": "gpio", "chip": "/dev/gpiochip0", "line": 1}},
        "safety.estop_second: found a second channel without a first; name it [safety.estop]",
    ),
    (
        {
            "safety.drive_enable": None,
            "safety.drive_feedback": {"type": "gpio", "chip": "/dev/gpiochip0", "line": 1},
        },
        "safety.drive_feedback: found a feedback, but no [safety.drive_enable] that it could follow; add the output "
        "or remove this",
    ),
    (
        {"safety.drive_enable.path": "{run}/other.sock"},
        'safety.drive_enable: found line "drive_enable" at /run/leg/other.sock, expected "drive_enable" at '
        "/run/leg/gpio.sock, where the emulator has it; correct one of them",
    ),
]


@pytest.mark.parametrize(("overrides", "mistake"), [*FIELDS, *ACROSS])
def test_a_mistake_is_named_and_nothing_else_is(
    overrides: dict[str, Any], mistake: str, mistakes_of: Mistakes
) -> None:
    assert mistakes_of(overrides) == [mistake]


def test_all_mistakes_are_reported_at_once(mistakes_of: Mistakes) -> None:
    found = mistakes_of(
        {
            "control.rate": 3000.0,
            "safety.priority": 10,
            "joint.hip.bus": "cam",
            "joint.knee.velocity_max": -1,
            "policy.execute": 11,
            "policy.command.vx.max": "high",
            "sensor.imu.feilds": {},
            "recording.enabled": 1,
            "socket.path": "/" + 107 * "x",
            "oops": {},
        }
    )
    assert [line.split(":")[0] for line in found] == [
        "oops",
        "control.rate",
        "policy.command.vx.max",
        "recording.enabled",
        "socket.path",
        "joint[1] knee . velocity_max",
        "sensor[0] imu . feilds",
        "joint[0] hip . bus",
        "safety.priority",
    ]


def test_mistakes_across_sections_do_not_wait_for_those_within(mistakes_of: Mistakes) -> None:
    found = mistakes_of({"joint.hip.kp": "stiff", "joint.knee.id": 1, "policy.rate": 500.0})
    assert [line.split(":")[0] for line in found] == ["joint[0] hip . kp", "joint[1] knee . id", "policy.rate"]


def test_each_line_of_the_error_begins_with_the_file(folder: Path) -> None:
    path = folder / "leg.toml"
    with pytest.raises(ConfigError) as caught:
        load(path, overrides={"control.rate": 0, "robot.name": "?"})
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[:2] for line in lines] == [[str(path), "robot.name"], [str(path), "control.rate"]]


def test_an_unknown_driver_does_not_hide_the_names_that_use_the_bus(mistakes_of: Mistakes) -> None:
    found = mistakes_of({"bus.can.type": "nothing_like_it", "bus.can.bitrates": 5})
    assert found == [
        'bus[0] can . type: found "nothing_like_it", expected "damiao" or "dynamixel"; correct it, or install the '
        "package that offers it under reflexd.motors"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[robot\n", "line 1, column 7: Expected ']' at the end of a table declaration; correct the TOML here"),
        ("[robot]\nname = leg\n", "line 2, column 8: Invalid value; correct the TOML here"),
        ("[robot]\nname = 'leg", None),
        ("a = 1\na = 2\n", "line 2, column 6: Cannot overwrite a value; correct the TOML here"),
    ],
)
def test_broken_toml_is_located(text: str, expected: str | None, tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert len(caught.value.mistakes) == 1
    if expected:
        assert str(caught.value) == f"{path}: {expected}"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    with pytest.raises(ConfigError, match=r"found no such file \(looked at .*/none\.toml\)"):
        load(path)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)
    path.write_bytes(b"[robot]\nname = '\xff'\n")
    with pytest.raises(ConfigError, match="found byte 16 that is not UTF-8"):
        load(path)


@pytest.mark.parametrize("text", ["a = " + 2000 * "[" + 2000 * "]", "a = " + 5000 * "9"])
def test_absurd_files_are_mistakes_and_no_crashes(text: str, tmp_path: Path) -> None:
    path = tmp_path / "absurd.toml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        load(path)


def test_a_driver_may_declare_a_holding_brake(
    load_with: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DamiaoBus, "has_brake", True, raising=False)
    config = load_with(overrides={"joint.hip.after_stop": "brake"})
    assert config.joints[0].after_stop == "brake"
