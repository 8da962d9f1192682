"""The robot process's loop inside the test: injected clock, stand-ins for plant and motors, real descriptors."""

from __future__ import annotations

import json
import os
import socket
import struct
import termios
import tty
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.emulated.errors import EmulatorError
from drivers.emulated.robot import BEHIND_MAX_NS
from drivers.emulated.spec import RobotSpec
from drivers.emulated.trajectory import load
from tests.emulated.bench import FRAME, MS, Bench, open_port

# Time -------------------------------------------------------------------------------------------------------


def test_physics_follows_the_clock(bench: Bench) -> None:
    bench.turn_at(1.9)
    assert bench.plant.time == 0
    bench.turn_at(2.0)
    assert bench.plant.time == pytest.approx(0.002)
    bench.turn_until(100)
    assert bench.plant.time == pytest.approx(0.1)
    assert bench.robot.dropped_ns == 0


def test_motors_run_before_each_step_at_the_steps_time(bench: Bench) -> None:
    bench.turn_until(5)
    steps = [(2, 0.002), (4, 0.004)]
    expected = []
    for milliseconds, seconds in steps:
        at_ns = bench.start_ns + milliseconds * MS
        expected += [("advance", at_ns), ("advance", at_ns), ("step", seconds)]
    assert bench.log == expected


def test_when_late_it_catches_up_one_step_a_turn(bench: Bench) -> None:
    bench.turn_at(20)
    assert bench.count("step") == 1
    for _ in range(20):
        bench.robot.turn()
    assert bench.count("step") == 10
    assert bench.robot.dropped_ns == 0


def test_input_is_heard_between_the_steps_of_a_catch_up(bench: Bench, host: socket.socket) -> None:
    host.send(FRAME)
    bench.turn_at(20)
    assert [name for name, _ in bench.log] == ["advance", "advance", "step", "receive"]
    assert host.recv(64) == FRAME


def test_a_long_stall_is_dropped_for_everybody(bench: Bench, host: socket.socket) -> None:
    bench.turn_until(10)
    host.send(FRAME)
    bench.turn_at(5_010)
    assert bench.robot.dropped_ns == pytest.approx(5_000 * MS, abs=4 * MS)
    for _ in range(5):
        bench.robot.turn()
    assert bench.count("step") <= 7
    times = [value for name, value in bench.log if name in ("advance", "receive")]
    assert max(later - earlier for earlier, later in pairwise(times)) <= BEHIND_MAX_NS
    bench.turn_until(5_020)
    assert bench.plant.time == pytest.approx(0.020, abs=0.003)


def test_the_motors_time_never_goes_back(bench: Bench, host: socket.socket) -> None:
    rng = np.random.default_rng(3)
    for gap in rng.choice([0.1, 0.7, 3.0, 11.0, 250.0], 400):
        host.send(FRAME)
        bench.turn_at((bench.clock.now_ns - bench.start_ns) / MS + gap)
        assert host.recv(64) == FRAME
    times = [value for name, value in bench.log if name in ("advance", "receive")]
    assert times == sorted(times)
    assert bench.robot.dropped_ns > 0


# Sensors ----------------------------------------------------------------------------------------------------


def test_sensor_datagrams_carry_the_time_of_their_step(tmp_path: Path, make: Callable[..., Bench]) -> None:
    path = tmp_path / "imu"
    sensor = {"name": "imu", "path": path, "fields": {"gyro": 2}, "rate": 250.0}
    bench = make(sensors=[sensor])
    bench.turn_until(10)  # nobody reads yet
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind(os.fspath(path))
        reader.setblocking(False)
        bench.turn_until(30)
        stamps = []
        for _ in range(5):
            stamp_ns, *values = struct.unpack("<Q2d", reader.recv(64))
            stamps.append((stamp_ns - bench.start_ns) / MS)
            assert values == pytest.approx([stamps[-1] / 1000] * 2)
        assert np.diff(stamps) == pytest.approx(4.0)
        bench.turn_until(32)
        bench.turn_at(4_032)  # a stall: time is dropped, stamps stay true to the monotonic clock
        stamp_ns, *values = struct.unpack("<Q2d", reader.recv(64))
        assert (stamp_ns - bench.start_ns) / MS == pytest.approx(4_032)
        assert values[0] == pytest.approx(0.034)
    path.unlink()


def test_an_unknown_sensor_field_is_found_at_the_start(tmp_path: Path) -> None:
    sensor = {"name": "imu", "path": tmp_path / "imu", "fields": {"smell": 1}, "rate": 10.0}
    with pytest.raises(EmulatorError, match="sensor imu: the plant has no such sensor"):
        Bench(tmp_path, sensors=[sensor])
    assert list(tmp_path.iterdir()) == []


# Power and control ------------------------------------------------------------------------------------------


def test_without_a_chip_power_flows_and_with_one_it_waits(
    tmp_path: Path, make: Callable[..., Bench], bench: Bench
) -> None:
    assert bench.plant.powered is True
    assert "no GPIO chip" in bench.ask(op="press", pressed=True)["error"]
    bench.robot.close()
    assert make(gpio=tmp_path / "gpio.sock").plant.powered is False


def test_state_score_and_reset(bench: Bench) -> None:
    bench.turn_until(50)
    state = bench.ask(op="state")
    assert state["ok"]
    assert state["time"] == pytest.approx(0.05, abs=0.002)
    assert state["joints"]["a"] == {"position": 0.25, "velocity": 0.0, "torque": 0.0}
    assert state["power"] is True
    assert bench.ask(op="score")["score"] == {"picked": 3}
    bench.ask(op="reset", seed=7)
    assert ("reset", 7) in bench.log


def test_faults_reach_the_motor_of_the_joint(bench: Bench) -> None:
    assert bench.ask(op="fault", joint="b", kind="dead")["ok"]
    assert bench.ask(op="fault", joint="a", kind="over_temperature", value=95)["ok"]
    assert ("fault", ("b", "dead", 1.0)) in bench.log
    assert ("fault", ("a", "over_temperature", 95.0)) in bench.log


def test_the_trajectory_is_kept_at_25_hz_since_the_last_reset(bench: Bench, tmp_path: Path) -> None:
    bench.turn_until(300)
    bench.ask(op="reset")
    bench.turn_until(1_300)
    reply = bench.ask(op="trajectory", path=os.fspath(tmp_path / "run.npz"))
    times, qpos = load(tmp_path / "run.npz")
    assert reply["snapshots"] == len(times) == len(qpos) == 25
    assert times[0] == 0
    assert np.diff(times) == pytest.approx(0.04)
    assert qpos[:, 0] - qpos[0, 0] == pytest.approx(times)


def test_an_empty_trajectory_can_be_saved(bench: Bench, tmp_path: Path) -> None:
    assert bench.ask(op="trajectory", path=os.fspath(tmp_path / "run.npz"))["snapshots"] == 0
    times, _ = load(tmp_path / "run.npz")
    assert len(times) == 0


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"op": "dance"}, "unknown op 'dance'; known: state"),
        ({}, "unknown op None"),
        ({"op": ["state"]}, "unknown op"),
        ({"op": "press"}, "pressed: expected true or false"),
        ({"op": "fault", "joint": "c", "kind": "dead"}, "unknown joint 'c'; known: a, b"),
        ({"op": "fault", "joint": "a", "kind": "tired"}, "unknown kind 'tired'; known: dead"),
        ({"op": "link", "bus": "up"}, "unknown bus 'up'; known: left, right"),
        ({"op": "link", "bus": "left", "loss": 2}, "loss is a probability"),
        ({"op": "link", "bus": "left", "lost": 0.5}, "lost"),
        ({"op": "trajectory"}, "path"),
        ({"op": "trajectory", "path": "/none/run.npz"}, "No such file"),
    ],
)
def test_bad_requests_are_answered_with_a_reason(bench: Bench, request_: dict[str, Any], text: str) -> None:
    reply = bench.ask(**request_)
    assert reply["ok"] is False
    assert text in reply["error"]


@pytest.mark.parametrize("line", [b"hello\n", b"3\n", b"\xff\n", b"[" * 50_000 + b"\n"])
def test_nonsense_on_the_control_channel_harms_nobody(bench: Bench, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(os.fspath(bench.control))
        client.sendall(line)
        for _ in range(4):
            bench.robot.turn()
        assert json.loads(client.recv(65536))["ok"] is False
    assert bench.ask(op="state")["ok"]


def test_a_client_that_never_ends_its_line_is_dropped(bench: Bench) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(os.fspath(bench.control))
        client.sendall(b"x" * 100_000)
        for _ in range(6):
            bench.robot.turn()
        client.settimeout(5)
        assert client.recv(10) == b""
    assert bench.ask(op="state")["ok"]


def test_requests_may_come_in_pieces_and_in_heaps(bench: Bench) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(os.fspath(bench.control))
        for piece in (b'{"op": "sc', b'ore"}\n{"op": "score"}', b"\n"):
            client.send(piece)
            bench.robot.turn()
            bench.robot.turn()
        assert client.recv(65536).count(b'"picked": 3') == 2


def test_quit_ends_the_loop(bench: Bench) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(os.fspath(bench.control))
        client.send(b'{"op": "quit"}\n')
        bench.robot.run()
        assert json.loads(client.recv(100)) == {"ok": True}


def test_specs_with_mistakes_are_refused() -> None:
    base = {
        "model": "m.xml",
        "joints": [{"name": "a", "bus": "left", "id": 1, "model": "x"}],
        "buses": [{"name": "left", "type": "dynamixel", "port": "/p"}],
    }
    RobotSpec.model_validate(base)
    with pytest.raises(ValueError, match="hangs on bus right, which is not among left"):
        RobotSpec.model_validate(
            {**base, "joints": [{"name": "a", "bus": "right", "id": 1, "model": "x"}]},
        )
    with pytest.raises(ValueError, match="joint names given twice: a"):
        RobotSpec.model_validate({**base, "joints": base["joints"] * 2})  # type: ignore[operator]
    with pytest.raises(ValueError, match="extra"):
        RobotSpec.model_validate({**base, "colour": "red"})


def test_tty_is_raw_before_any_host_comes(bench: Bench) -> None:
    port = open_port(bench)
    before = termios.tcgetattr(port)
    tty.setraw(port)
    assert termios.tcgetattr(port) == before
    os.close(port)
