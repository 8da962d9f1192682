"""Every monitor and zone as the config asks for it, in injected time: what sets a flag, what takes it away."""

from __future__ import annotations

import math
import socket
import struct
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.sensor import Sensor
from drivers.state import Floats, JointState
from runtime.config.load import build
from runtime.config.paths import Places
from runtime.watches import build_watches
from safety.action import Action
from safety.gate import Gate
from safety.watch import Clear, Flag

MS = 1_000_000
ROBOT = """
[robot]
name = "arm"
[control]
rate = 500.0
[[bus]]
name = "can"
type = "damiao"
interface = "unix"
channel = "can"
[[joint]]
name = "j0"
bus = "can"
id = 1
model = "DM4310"
position_min = -2.0
position_max = 2.0
velocity_max = 5.0
acceleration_max = 50.0
torque_max = 8.0
kp = 20.0
kd = 1.0
[[joint]]
name = "j1"
bus = "can"
id = 2
model = "DM4310"
position_min = -2.0
position_max = 2.0
velocity_max = 5.0
acceleration_max = 50.0
torque_max = 8.0
kp = 20.0
kd = 1.0
[[sensor]]
name = "imu"
type = "datagram"
path = "imu.sock"
fields = { gyro = 3, orientation = 4 }
[[sensor]]
name = "base"
type = "datagram"
path = "base.sock"
fields = { pose = 3 }
[[sensor]]
name = "lidar"
type = "datagram"
path = "lidar.sock"
fields = { ranges = 5 }
max_age = 0.2
"""


class Bench:
    """A robot that is commanded and well, looked at every 5 ms. `flags`: what stands, by name."""

    def __init__(self, more: str) -> None:
        where = Places(Path("/run/arm"), Path("/state/arm"))
        config = build(Path("arm.toml"), tomllib.loads(ROBOT + more), where)
        self.state = JointState(2)
        self.state.measured[:] = np.array([[0.0], [0.0], [0.0], [40.0], [24.0]])
        self.command: Floats = np.zeros(2)
        self.gate = Gate()
        self.gate.permit()
        self.gate.open()
        self.sensors: dict[str, Sensor] = {p.options.name: p.driver(p.options) for p in config.sensors}
        self.set("imu", 0, 0, 0, 1, 0, 0, 0)
        self.set("base", 2, 2, 0)
        self.set("lidar", 9, 9, 9, 9, 9)
        self.fresh = True
        self.now_ns = 1000 * MS
        self.watches = build_watches(
            config, self.state, list(self.sensors.values()), lambda: self.command, self.gate
        )
        self.flags: dict[str, Flag] = {}

    def set(self, sensor: str, *values: float) -> None:
        self.sensors[sensor].values[:] = values

    def run(self, ms: int, each: Callable[[float], object] = lambda seconds: None) -> list[str]:
        """Look for so long; `each` is called before every look with the time, s. Returns the names that stand."""
        for _ in range(ms // 5):
            self.now_ns += 5 * MS
            each(self.now_ns / 1e9)
            if self.fresh:
                self.state.stamp_ns[:] = self.now_ns
                for sensor in self.sensors.values():
                    sensor.stamp_ns = self.now_ns
            self.flags = {flag.name: flag for watch in self.watches for flag in watch.look(self.now_ns)}
        return list(self.flags)


def test_a_robot_that_is_well_has_no_flags() -> None:
    bench = Bench(ALL)
    assert bench.run(3000) == []


def test_a_moving_robot_that_follows_its_commands_has_none_either() -> None:
    bench = Bench(ALL)

    def swing(seconds: float) -> None:
        bench.command[:] = math.sin(3 * seconds)
        bench.state.position[:] = math.sin(3 * seconds) - 0.01
        bench.state.velocity[:] = 3 * math.cos(3 * seconds)
        bench.state.torque[:] = 20 * 0.01 - 3 * math.cos(3 * seconds)
        assert bench.flags == {}

    assert bench.run(10000, swing) == []


ALL = """
[safety.monitor]
velocity = { warn = 4.0, stop = 6.0 }
torque = { warn = 6.0, stop = 7.0, action = "torque_off" }
following_error = { stop = 0.3, action = "hold" }
torque_error = { stop = 2.0, duration = 0.2 }
collision = { stop = 4.0, duration = 0.02 }
oscillation = { stop = 6.0, amplitude = 0.5, action = "slow" }
grip_stall = { stop = 3.0, only = ["j1"], duration = 0.5, action = "hold" }
temperature = { warn = 70.0, stop = 80.0, joints = { j1 = { stop = 90.0 } } }
voltage = { warn = 20.0, stop = 18.0 }
tilt = { orientation = "imu.orientation", warn = 0.5, stop = 0.8 }
sensor_age = { warn = { imu = 0.05 }, stop = { imu = 0.3, base = 0.1 } }
[safety.geofence.hall]
pose = "base.pose"
border = [[0, 0], [4, 0], [4, 4], [0, 4]]
slow = 1.0
stop = 0.5
[safety.protective_field.front]
ranges = "lidar.ranges"
angle_min = -1.0
angle_increment = 0.5
sector = [-0.5, 0.5]
slow = 2.0
stop = 1.0
action = "hold"
clear = "gone"
clear_after = 0.5
"""

Change = Callable[[Bench], object]


def state(row: str, *values: float) -> Change:
    def change(bench: Bench) -> None:
        getattr(bench.state, row)[:] = values

    return change


def command(*values: float) -> Change:
    return lambda bench: bench.command.__setitem__(slice(None), values)


def both(*changes: Change) -> Change:
    return lambda bench: [change(bench) for change in changes]


def sensor(name: str, *values: float) -> Change:
    return lambda bench: bench.set(name, *values)


STOP, RESET, GONE = Action.CONTROLLED_STOP, Clear.RESET, Clear.GONE
WARNS, STOPS = (Action.WARN, GONE), (STOP, RESET)
SLOWS, HOLDS, PAUSES = (Action.SLOW, GONE), (Action.HOLD, RESET), (Action.HOLD, GONE)
CUTS = (Action.TORQUE_OFF, RESET)
TILTED = (math.cos(0.5), math.sin(0.5), 0.0, 0.0)
HOT = ("temperature.j0", "temperature.j1")
CASES: list[tuple[str, Change, int, dict[str, tuple[Action, Clear]]]] = [
    ("velocity", state("velocity", -4.5, 0.0), 100, {"velocity.j0": WARNS}),
    ("velocity", state("velocity", 0.0, 6.5), 100, {"velocity.j1": STOPS}),
    ("torque", state("torque", 6.5, -7.5), 100, {"torque.j0": WARNS, "torque.j1": CUTS}),
    ("following_error", command(0.0, 0.4), 100, {"following_error.j1": HOLDS}),
    ("torque_error", state("torque", 2.5, 0.0), 200, {"torque_error.j0": STOPS}),
    ("torque_error", both(command(0.2, 0.0), state("torque", 4.0, 0.0)), 200, {}),
    ("collision", state("torque", 0.0, 5.0), 20, {"collision.j1": STOPS}),
    ("grip_stall", both(command(0.0, 0.4), state("torque", 0.0, 4.0)), 500, {"grip_stall.j1": HOLDS}),
    ("grip_stall", both(command(0.4, 0.0), state("torque", 4.0, 0.0)), 500, {}),
    ("temperature", state("temperature", 75.0, 85.0), 100, dict.fromkeys(HOT, WARNS)),
    ("temperature", state("temperature", 81.0, 91.0), 100, dict.fromkeys(HOT, STOPS)),
    ("voltage", state("voltage", 19.0, 17.0), 100, {"voltage.j0": WARNS, "voltage.j1": STOPS}),
    ("tilt", sensor("imu", 0, 0, 0, math.cos(0.3), math.sin(0.3), 0, 0), 100, {"tilt.base": WARNS}),
    ("tilt", sensor("imu", 0, 0, 0, *TILTED), 100, {"tilt.base": STOPS}),
    ("tilt", sensor("imu", 0, 0, 0, 0, 0, 0, 0), 0, {"tilt.base": STOPS}),
    ("geofence", sensor("base", 3.2, 2.0, 0.0), 0, {"geofence.hall": SLOWS}),
    ("geofence", sensor("base", 3.7, 2.0, 0.0), 0, {"geofence.hall": STOPS}),
    ("geofence", sensor("base", 99.0, 2.0, 0.0), 0, {"geofence.hall": STOPS}),
    ("geofence", sensor("base", math.nan, 2.0, 0.0), 0, {"geofence.hall": STOPS}),
    ("protective_field", sensor("lidar", 0.1, 9.0, 1.5, 9.0, 0.1), 0, {"protective_field.front": SLOWS}),
    ("protective_field", sensor("lidar", 9.0, 9.0, 9.0, 0.9, 9.0), 0, {"protective_field.front": PAUSES}),
    ("protective_field", sensor("lidar", 9.0, 9.0, -1.0, 9.0, 9.0), 0, {"protective_field.front": PAUSES}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "change", "after_ms", "expected"), CASES)
def test_a_flag_stands_when_its_cause_has_lasted(
    kind: str, change: Change, after_ms: int, expected: dict[str, tuple[Action, Clear]]
) -> None:
    bench = Bench(ALL)
    bench.run(1000)
    change(bench)
    if after_ms:
        assert [name for name in bench.run(after_ms) if name.startswith(f"{kind}.")] == []
    bench.run(5)
    found = {name: (flag.action, flag.clear) for name, flag in bench.flags.items() if name.startswith(f"{kind}.")}
    assert found == expected


def test_swinging_makes_the_robot_slow_until_it_is_over() -> None:
    bench = Bench(ALL)

    def swing(seconds: float) -> None:
        bench.state.velocity[0] = math.sin(2 * math.pi * 10 * seconds)

    assert bench.run(2000, swing) == ["oscillation.j0"]
    assert (bench.flags["oscillation.j0"].action, bench.flags["oscillation.j0"].clear) == (Action.SLOW, GONE)
    bench.state.velocity[0] = 0.0
    assert bench.run(1200) == []


# -- what is not known is never fine for ever


@pytest.mark.parametrize("row", ["velocity", "torque", "temperature", "voltage"])
def test_a_measurement_that_a_motor_leaves_out_stops_the_robot(row: str) -> None:
    bench = Bench(ALL)
    bench.run(1000)
    getattr(bench.state, row)[1] = math.nan
    bench.run(600)
    flag = bench.flags[f"{row}.j1"]
    assert flag.action >= STOP
    assert flag.text.endswith(
        " of joint j1 is not known: its motor does not report it; leave the joint out through `only`"
    )


def test_readings_that_grow_old_stop_the_robot_although_their_values_are_fine() -> None:
    bench = Bench("")
    bench.run(1000)
    bench.fresh = False
    # 10 requests of 2 ms, twice, and 20 ms without a beat; then the time that it must last.
    assert bench.run(160) == []
    assert bench.run(10) == ["joint_age.j0", "joint_age.j1"]
    assert {(flag.action, flag.clear) for flag in bench.flags.values()} == {(STOP, RESET)}
    assert (
        "the age of the reading of joint j0 is 0.165 s, at most 0.06 s is allowed"
        in bench.flags["joint_age.j0"].text
    )


def test_sensors_that_fall_silent() -> None:
    bench = Bench(ALL)
    bench.run(1000)
    bench.fresh = False
    seen: dict[str, tuple[int, Action]] = {}

    def look(seconds: float) -> None:
        for name, flag in bench.flags.items():
            if not name.startswith("joint_age"):
                seen.setdefault(f"{name} {flag.action.name}", (round(seconds * 1e3) - 2005, flag.action))

    bench.run(600, look)
    assert {name: ms for name, (ms, _) in seen.items()} == {
        "geofence.hall CONTROLLED_STOP": 105,  # max_age, and nothing more
        "tilt.base CONTROLLED_STOP": 105,
        "sensor_age.imu WARN": 155,
        "sensor_age.base CONTROLLED_STOP": 205,
        "protective_field.front HOLD": 205,
        "sensor_age.imu CONTROLLED_STOP": 405,
    }


def test_before_the_first_reading_nothing_that_a_zone_needs_is_fine() -> None:
    bench = Bench(ALL)
    bench.fresh = False
    assert set(bench.run(5)) == {"tilt.base", "geofence.hall", "protective_field.front"}


def test_what_compares_with_commands_looks_only_while_there_are_commands() -> None:
    bench = Bench(ALL)
    bench.run(1000)
    bench.gate.close("test")
    bench.state.velocity[:], bench.state.torque[:], bench.command[:] = 9.0, 9.0, 1.0
    assert bench.run(2000) == []
    bench.state.temperature[:], bench.fresh = 99.0, False
    others = ["temperature.j0", "temperature.j1", "tilt.base", "geofence.hall", "protective_field.front"]
    assert bench.run(2000) == others


# -- zones resume


def test_a_protective_field_resumes_by_itself_when_it_has_been_clear_for_its_time() -> None:
    bench = Bench(ALL)
    name = "protective_field.front"
    bench.run(100)
    actions = []
    for ranges, ms in ((1.5, 5), (0.5, 5), (1.5, 495), (1.5, 10), (9.0, 400), (1.5, 5), (9.0, 495), (9.0, 10)):
        bench.set("lidar", 9.0, 9.0, ranges, 9.0, 9.0)
        bench.run(ms)
        actions.append(bench.flags[name].action if name in bench.flags else Action.NONE)
    slow, hold = Action.SLOW, Action.HOLD
    assert actions == [slow, hold, hold, slow, slow, slow, slow, Action.NONE]


def test_beyond_a_geofence_only_a_person_resumes() -> None:
    bench = Bench(ALL)
    bench.set("base", 4.5, 2.0, 0.0)
    bench.run(5)
    assert bench.flags["geofence.hall"].clear is RESET
    bench.set("base", 2.0, 2.0, 0.0)
    assert bench.run(950) == ["geofence.hall"]
    assert bench.run(100) == [], "its cause is gone: now a reset counts"


def test_a_fence_to_stay_outside_of() -> None:
    bench = Bench('[safety.geofence.pit]\npose = "base.pose"\nborder = [[0, 0], [1, 0], [0, 1]]\nstay = "outside"')
    assert bench.run(1000) == []
    bench.set("base", 0.2, 0.2, 0.0)
    assert bench.run(5) == ["geofence.pit"]
    assert "is -0.2 m, at least 0 m is allowed" in bench.flags["geofence.pit"].text


async def test_a_scan_that_comes_through_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "lidar.sock"
    text = f'[[sensor]]\nname = "scanner"\ntype = "datagram"\npath = "{path}"\nfields = {{ ranges = 3 }}\n'
    field = '[safety.protective_field.front]\nranges = "scanner.ranges"\nslow = 2.0\nstop = 1.0\naction = "hold"'
    bench = Bench(text + field)
    sensor = bench.sensors["scanner"]
    await sensor.open()
    seen = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as scanner:
        for ranges in ((9.0, 9.0, 9.0), (9.0, 1.5, 9.0), (0.4, 1.5, 9.0), (math.nan, 9.0, 9.0)):
            scanner.sendto(struct.pack("<Q3d", time.monotonic_ns(), *ranges), str(path))
            sensor.read(time.monotonic_ns())
            flags = [flag for watch in bench.watches for flag in watch.look(sensor.stamp_ns)]
            seen += [flag.action for flag in flags if flag.name == "protective_field.front"]
    await sensor.close()
    # The last datagram is malformed and thrown away: what stood before stands until its reading is too old.
    assert seen == [Action.SLOW, Action.HOLD, Action.HOLD]


# -- by default


@pytest.mark.parametrize(("row", "fine", "too_much"), [("velocity", 9.9, 10.1), ("torque", 11.9, 12.1)])
def test_limits_from_the_joints_own_are_there_without_a_word_in_the_config(
    row: str, fine: float, too_much: float
) -> None:
    bench = Bench("")
    getattr(bench.state, row)[0] = fine
    assert bench.run(1000) == []
    getattr(bench.state, row)[0] = too_much
    assert bench.run(105) == [f"{row}.j0"]
    assert bench.flags[f"{row}.j0"].action is STOP


def test_a_step_of_the_wall_clock_is_watched_by_default(monkeypatch: Any) -> None:
    bench = Bench("")
    watch = bench.watches[-1]
    watch.look(0)
    monkeypatch.setattr(watch, "_realtime", lambda: 0)
    assert [flag.name for flag in watch.look(5 * MS)] == ["clock_step"]
