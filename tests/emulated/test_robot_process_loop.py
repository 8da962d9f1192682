"""The robot process's loop inside the test: injected clock, stand-ins for plant and motors, real descriptors."""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
import termios
import tty
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.emulated.errors import EmulatorError
from drivers.emulated.robot import BEHIND_MAX_NS, Robot
from drivers.emulated.spec import RobotSpec
from drivers.emulated.trajectory import load

MS = 1_000_000
FRAME = struct.pack("<IBxxx8s", 1, 8, b"question")


class Clock:
    def __init__(self) -> None:
        self.now_ns = 5_000 * MS

    def __call__(self) -> int:
        return self.now_ns


class StandInPlant:
    def __init__(self, log: list[tuple[str, Any]]) -> None:
        self.timestep = 0.002
        self.time = 0.0
        self.powered = False
        self.position = 0.25
        self.velocity = self.torque = 0.0
        self.log = log

    def advance(self, to_seconds: float) -> None:
        while self.time < to_seconds - 1e-9:
            self.time += self.timestep
            self.log.append(("step", round(self.time, 6)))

    def axis(self, joint: str) -> Any:
        return self

    def power(self, on: bool) -> None:
        self.powered = on

    def sensor(self, fields: dict[str, int]) -> Any:
        if "gyro" not in fields:
            raise ValueError("the plant has no such sensor")
        return np.full(sum(fields.values()), self.time)

    def score(self) -> dict[str, float | int | str]:
        return {"picked": 3}

    def reset(self, seed: int | None = None) -> None:
        self.log.append(("reset", seed))

    def snapshot(self) -> Any:
        return np.array([self.time, 1.0])


class Echo:
    """Motors that answer what they hear."""

    def __init__(self, log: list[tuple[str, Any]], delay_ns: int = 0) -> None:
        self.log = log
        self.delay_ns = delay_ns

    def receive(self, data: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        self.log.append(("receive", now_ns))
        return [(now_ns + self.delay_ns, data)]

    def advance(self, now_ns: int) -> None:
        self.log.append(("advance", now_ns))

    def fault(self, joint: str, kind: str, value: float = 1.0) -> None:
        self.log.append(("fault", (joint, kind, value)))


class Bench:
    """A robot with one bus of each kind."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.log: list[tuple[str, Any]] = []
        self.clock = Clock()
        self.start_ns = self.clock.now_ns
        self.plant = StandInPlant(self.log)
        self.devices = {"left": Echo(self.log), "right": Echo(self.log)}
        self.port = folder / "port"
        self.channel = folder / "can.sock"
        self.control = folder / "emulator.sock"
        joint = {"id": 1, "model": "any"}
        self.spec = RobotSpec.model_validate(
            {
                "model": "/none.xml",
                "joints": [
                    {"name": "a", "bus": "left", **joint},
                    {"name": "b", "bus": "right", **joint},
                ],
                "buses": [
                    {"name": "left", "type": "dynamixel", "port": self.port},
                    {"name": "right", "type": "damiao", "channel": str(self.channel)},
                ],
                "control": self.control,
                **more,
            }
        )
        self.robot = Robot(self.spec, self.plant, self.devices, self.clock)  # type: ignore[arg-type]

    def turn_at(self, milliseconds: float) -> None:
        self.clock.now_ns = self.start_ns + round(milliseconds * MS)
        self.robot.turn()

    def turn_until(self, milliseconds: float) -> None:
        """Turns without delay, to this time."""
        while self.clock.now_ns < self.start_ns + round(milliseconds * MS):
            self.clock.now_ns += MS
            self.robot.turn()

    def ask(self, **request: Any) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(os.fspath(self.control))
            client.send(json.dumps(request).encode() + b"\n")
            for _ in range(3):
                self.robot.turn()
            client.setblocking(False)
            reply: dict[str, Any] = json.loads(client.recv(65536))
            return reply

    def count(self, what: str) -> int:
        return sum(name == what for name, _ in self.log)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def make_bench(**more: Any) -> Bench:
        benches.append(Bench(tmp_path, **more))
        return benches[-1]

    yield make_bench
    for bench in benches:
        bench.robot.close()
    assert list(tmp_path.glob("*.sock")) == []
    assert not (tmp_path / "port").is_symlink()


@pytest.fixture
def bench(make: Callable[..., Bench]) -> Bench:
    return make()


@pytest.fixture
def host(bench: Bench) -> Iterator[socket.socket]:
    with connect(bench) as client:
        yield client


def connect(bench: Bench) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.connect(os.fspath(bench.channel))
    client.setblocking(False)
    bench.robot.turn()
    return client


def open_port(bench: Bench) -> int:
    return os.open(bench.port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)


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


# Wires ------------------------------------------------------------------------------------------------------


def test_serial_port_is_raw_and_survives_its_host(bench: Bench) -> None:
    for everything in (bytes(range(256)), b"\x03\x04\r\n\x11\x13again"):
        port = open_port(bench)
        assert termios.tcgetattr(port)[3] & (termios.ICANON | termios.ECHO) == 0
        os.write(port, everything)
        bench.robot.turn()
        assert os.read(port, 4096) == everything
        os.close(port)
        bench.robot.turn()


def test_a_serial_host_that_does_not_read_does_not_stop_the_robot(bench: Bench) -> None:
    port = open_port(bench)
    for _ in range(40):
        os.write(port, bytes(1000))
        bench.robot.turn()
    assert bench.ask(op="state")["buses"]["left"]["unsent"] > 0
    termios.tcflush(port, termios.TCIOFLUSH)
    os.write(port, b"hello")
    bench.robot.turn()
    assert os.read(port, 100) == b"hello"
    os.close(port)


def test_a_file_in_the_way_of_the_serial_port_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "port").write_text("precious")
    with pytest.raises(EmulatorError, match="not a symbolic link"):
        Bench(tmp_path)
    assert (tmp_path / "port").read_text() == "precious"
    assert not (tmp_path / "can.sock").exists()


def test_a_sandbox_without_terminals_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> tuple[int, int]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "openpty", refused)
    with pytest.raises(EmulatorError, match=r"serial port .*/port: Permission denied; /dev/ptmx"):
        Bench(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_second_robot_takes_over_a_dead_ones_link_and_socket(tmp_path: Path, make: Callable[..., Bench]) -> None:
    (tmp_path / "port").symlink_to("/dev/pts/none")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
        dead.bind(os.fspath(tmp_path / "can.sock"))
    bench = make()
    assert os.readlink(bench.port).startswith("/dev/pts/")
    connect(bench).close()


def test_a_live_robot_keeps_its_sockets(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(EmulatorError, match="another process listens"):
        Bench(tmp_path)
    assert bench.channel.exists()
    connect(bench).close()


def test_a_socket_path_that_is_too_long_is_named(tmp_path: Path) -> None:
    with pytest.raises(EmulatorError, match="at most 107"):
        Bench(tmp_path, gpio="/" + "x" * 110)
    assert list(tmp_path.iterdir()) == []


def test_a_burst_of_frames_is_answered_in_order(bench: Bench, host: socket.socket) -> None:
    frames = [struct.pack("<IBxxx8s", number, 8, bytes(8)) for number in range(100)]
    for frame in frames:
        host.send(frame)
    bench.robot.turn()
    bench.robot.turn()
    assert [host.recv(64) for _ in frames] == frames


def test_frames_of_another_size_are_not_frames(bench: Bench, host: socket.socket) -> None:
    for wrong in (b"x", FRAME + b"x", bytes(72)):
        host.send(wrong)
    host.send(FRAME)
    bench.robot.turn()
    assert host.recv(64) == FRAME
    assert bench.count("receive") == 1


def test_a_new_can_client_replaces_the_old_one(bench: Bench, host: socket.socket) -> None:
    second = connect(bench)
    assert host.recv(64) == b""
    second.send(FRAME)
    bench.robot.turn()
    assert second.recv(64) == FRAME
    second.close()
    bench.robot.turn()
    assert bench.ask(op="state")["buses"]["right"]["connected"] is False


def test_a_motors_answer_waits_for_its_time(bench: Bench, host: socket.socket) -> None:
    bench.devices["right"].delay_ns = 500_000
    host.send(FRAME)
    bench.turn_at(0.1)
    bench.turn_at(0.5)
    with pytest.raises(BlockingIOError):
        host.recv(64)
    bench.turn_at(0.7)
    assert host.recv(64) == FRAME


def test_link_delay_acts_on_the_way_there_and_back(bench: Bench, host: socket.socket) -> None:
    assert bench.ask(op="link", bus="right", delay_s=0.010)["ok"]
    host.send(FRAME)
    bench.turn_until(9)
    assert bench.count("receive") == 0
    bench.turn_until(12)
    assert bench.count("receive") == 1
    bench.turn_until(18)
    with pytest.raises(BlockingIOError):
        host.recv(64)
    bench.turn_until(23)
    assert host.recv(64) == FRAME


def test_split_replies_come_byte_by_byte(bench: Bench) -> None:
    assert bench.ask(op="link", bus="left", split=True)["ok"]
    port = open_port(bench)
    os.write(port, b"abc")
    bench.turn_at(1)
    assert os.read(port, 100) == b"a"
    bench.turn_at(1.015)
    assert os.read(port, 100) == b"b"
    bench.turn_at(1.03)
    assert os.read(port, 100) == b"c"
    os.close(port)


def test_a_wire_that_loses_all_answers_nothing(bench: Bench, host: socket.socket) -> None:
    bench.ask(op="link", bus="right", loss=1.0)
    host.send(FRAME)
    bench.robot.turn()
    assert bench.count("receive") == 0
    bench.ask(op="link", bus="right")
    host.send(FRAME)
    bench.robot.turn()
    assert host.recv(64) == FRAME


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
