"""The emulated robot as a real process: one Dynamixel servo on a pty, one Damiao motor on a CAN socket."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from drivers.errors import LineError
from drivers.gpio.lines import open_input, open_output
from drivers.gpio.options import EmulatedLine
from drivers.sensors.datagram import DatagramOptions, DatagramSensor

pytestmark = pytest.mark.system

PATIENCE_S = 20.0
MODEL = """
<mujoco>
  <compiler angle="radian"/>
  <option timestep="0.002" gravity="0 0 0"/>
  <worldbody>
    <body><joint name="swing" axis="0 1 0"/><geom type="capsule" size="0.02" fromto="0 0 0 0 0 0.2" mass="0.5"/>
      <site name="tip" pos="0 0 0.2"/></body>
    <body pos="1 0 0"><joint name="turn_joint" axis="0 1 0"/>
      <geom type="capsule" size="0.02" fromto="0 0 0 0 0 0.2" mass="0.5"/></body>
  </worldbody>
  <actuator><motor joint="swing"/><motor joint="turn_joint"/></actuator>
  <sensor><gyro name="gyro" site="tip"/></sensor>
</mujoco>
"""

# Vectors of the protocols' own documents.
DXL_PING = bytes.fromhex("FF FF FD 00 01 03 00 01 19 4E")
DXL_PING_REPLY_HEAD = bytes.fromhex("FF FF FD 00 01 07 00 55 00 FC 03")  # model number 1020
DAMIAO_ENABLE = bytes.fromhex("FF FF FF FF FF FF FF FC")
DAMIAO_MIT = bytes.fromhex("8A 3C 7F F0 F5 33 37 FF")  # p = 1 rad, kp = 30, kd = 1
DAMIAO_REFRESH = bytes.fromhex("01 00 CC 00 00 00 00 00")


def frame(can_id: int, data: bytes) -> bytes:
    return struct.pack("=IB3x8s", can_id, len(data), data)


class RobotProcess:
    """One emulator with everything in `folder`."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.folder = folder
        self.port = folder / "port"
        self.channel = folder / "can.sock"
        self.gpio = folder / "gpio.sock"
        self.control = folder / "control.sock"
        self.imu = folder / "imu.sock"
        (folder / "robot.xml").write_text(MODEL)
        spec = {
            "model": str(folder / "robot.xml"),
            "joints": [
                {"name": "swing", "bus": "arm", "id": 1, "model": "XM430-W350"},
                {"name": "turn", "bus": "leg", "id": 1, "model": "DM4310", "sign": -1, "offset": 0.25},
            ],
            "buses": [
                {"name": "arm", "type": "dynamixel", "port": str(self.port)},
                {"name": "leg", "type": "damiao", "channel": str(self.channel)},
            ],
            "sensors": [{"name": "imu", "path": str(self.imu), "fields": {"gyro": 3}, "rate": 200.0}],
            "gpio": str(self.gpio),
            "control": str(self.control),
            **more,
        }
        (folder / "spec.json").write_text(json.dumps(spec))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "drivers.emulated", str(folder / "spec.json")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_ready(self) -> RobotProcess:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        line = self.process.stdout.readline()
        assert line == "ready\n", line + self.process.stderr.read()
        return self

    def ask(self, **request: Any) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(PATIENCE_S)
            client.connect(os.fspath(self.control))
            client.sendall(json.dumps(request).encode() + b"\n")
            reply: dict[str, Any] = json.loads(client.makefile().readline())
        assert reply["ok"], reply
        return reply

    def position(self, joint: str) -> float:
        return float(self.ask(op="state")["joints"][joint]["position"])

    def line(self, name: str) -> EmulatedLine:
        return EmulatedLine(type="emulated", path=self.gpio, line=name)

    def left_behind(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()} - {"robot.xml", "spec.json"}

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_S)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None and not pipe.closed:
                pipe.close()


def wait_for(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"did not happen: {what}"
        select.select([], [], [], 0.01)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., RobotProcess]]:
    with ExitStack() as stack:

        def make(**more: Any) -> RobotProcess:
            robot = RobotProcess(tmp_path, **more)
            stack.callback(robot.close)
            return robot

        yield make


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RobotProcess]:
    """One process for all tests that leave it as it was."""
    robot = RobotProcess(tmp_path_factory.mktemp("robot"))
    try:
        yield robot.wait_ready()
    finally:
        robot.close()


def connect(robot: RobotProcess) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.settimeout(PATIENCE_S)
    client.connect(os.fspath(robot.channel))
    return client


def ping(robot: RobotProcess) -> bytes:
    port = os.open(robot.port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        return ping_over(port)
    finally:
        os.close(port)


def ping_over(port: int) -> bytes:
    os.write(port, DXL_PING)
    reply = b""
    while len(reply) < 14:
        assert select.select([port], [], [], PATIENCE_S)[0], reply
        reply += os.read(port, 100)
    return reply


# Wires ------------------------------------------------------------------------------------------------------


def test_the_servo_answers_on_the_pty_again_and_again(running: RobotProcess) -> None:
    for _ in range(3):
        assert ping(running).startswith(DXL_PING_REPLY_HEAD)


def test_the_servo_answers_at_the_end_of_a_real_cable(start: Callable[..., RobotProcess]) -> None:
    host, adapter = os.openpty()
    tty.setraw(adapter)
    bus = {"name": "arm", "type": "dynamixel", "port": os.ttyname(adapter), "cable": True, "baud": 57600}
    joint = {"name": "swing", "bus": "arm", "id": 1, "model": "XM430-W350"}
    try:
        robot = start(buses=[bus], joints=[joint]).wait_ready()
        assert ping_over(host).startswith(DXL_PING_REPLY_HEAD)
        assert robot.ask(op="state")["buses"]["arm"]["sent"] == 1
        os.close(host)
        host = -1
        wait_for(lambda: not robot.ask(op="state")["buses"]["arm"]["connected"], "the adapter is gone")
    finally:
        os.close(adapter)
        if host >= 0:
            os.close(host)


def test_a_cable_without_an_adapter_is_said(start: Callable[..., RobotProcess], tmp_path: Path) -> None:
    bus = {"name": "arm", "type": "dynamixel", "port": str(tmp_path / "ttyUSB9"), "cable": True}
    robot = start(buses=[bus], joints=[{"name": "swing", "bus": "arm", "id": 1, "model": "XM430-W350"}])
    assert robot.process.wait(PATIENCE_S) == 1
    assert robot.process.stderr is not None
    assert "ttyUSB9 at 1000000 baud cannot be opened: it does not exist" in robot.process.stderr.read()


def test_the_motor_answers_on_the_can_socket(running: RobotProcess) -> None:
    with connect(running) as bus:
        bus.send(frame(0x7FF, DAMIAO_REFRESH))
        can_id, size, data = struct.unpack("=IB3x8s", bus.recv(64))
    assert (can_id, size, data[0]) == (0x11, 8, 0x01)
    at_motor = (data[1] << 8 | data[2]) * 25 / 65535 - 12.5
    assert -(running.position("turn") - 0.25) == pytest.approx(at_motor, abs=0.001)


def test_a_wire_that_loses_all_answers_nothing_until_it_is_repaired(running: RobotProcess) -> None:
    running.ask(op="link", bus="leg", loss=1.0)
    with connect(running) as bus:
        for _ in range(20):
            bus.send(frame(0x7FF, DAMIAO_REFRESH))
        wait_for(lambda: running.ask(op="state")["buses"]["leg"]["received"] >= 20, "frames arrive")
        bus.setblocking(False)
        with pytest.raises(BlockingIOError):
            bus.recv(64)
        running.ask(op="link", bus="leg")
        bus.settimeout(PATIENCE_S)
        bus.send(frame(0x7FF, DAMIAO_REFRESH))
        assert len(bus.recv(64)) == 16


def test_a_dead_motor_is_silent_until_it_is_repaired(running: RobotProcess) -> None:
    running.ask(op="fault", joint="turn", kind="dead")
    with connect(running) as bus:
        bus.send(frame(0x7FF, DAMIAO_REFRESH))
        before = running.ask(op="state")["buses"]["leg"]["sent"]
        wait_for(lambda: running.ask(op="state")["time"] > 0.1, "time passes")
        running.ask(op="fault", joint="turn", kind="clear")
        assert running.ask(op="state")["buses"]["leg"]["sent"] == before
        bus.send(frame(0x7FF, DAMIAO_REFRESH))
        assert len(bus.recv(64)) == 16


def test_an_unplugged_adapter_is_gone_and_comes_back_under_another_number(
    start: Callable[..., RobotProcess],
) -> None:
    robot = start().wait_ready()
    port = os.open(robot.port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    before = os.readlink(robot.port)
    robot.ask(op="plug", bus="arm", plugged=False)
    assert not os.path.lexists(robot.port)
    with pytest.raises(OSError, match="Input/output error"):
        os.write(port, DXL_PING)
    # The old device's number is taken as long as somebody holds it open.
    robot.ask(op="plug", bus="arm", plugged=True)
    assert os.readlink(robot.port) != before
    assert ping(robot).startswith(DXL_PING_REPLY_HEAD)
    os.close(port)


# Physics and power ------------------------------------------------------------------------------------------


def test_time_runs_as_the_clock_does(running: RobotProcess) -> None:
    def both() -> tuple[float, float]:
        state = running.ask(op="state")
        return time.monotonic(), state["time"] + state["dropped_s"]

    clock, simulated = both()
    wait_for(lambda: time.monotonic() > clock + 0.5, "half a second")
    later_clock, later_simulated = both()
    assert later_simulated - simulated == pytest.approx(later_clock - clock, abs=0.2)


def test_the_motor_moves_its_joint_only_with_power(start: Callable[..., RobotProcess]) -> None:
    robot = start().wait_ready()
    with connect(robot) as bus:

        def command() -> None:
            bus.send(frame(1, DAMIAO_MIT))
            bus.recv(64)

        bus.send(frame(1, DAMIAO_ENABLE))
        bus.recv(64)
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            command()
        assert robot.position("turn") == pytest.approx(0, abs=1e-3)
        enable = open_output(robot.line("drive_enable"))
        enable.set(True)

        def there() -> bool:
            command()
            return abs(robot.position("turn") - (0.25 - 1.0)) < 0.02

        wait_for(there, "the joint is where the motor's angle of 1 rad puts it")
        assert robot.ask(op="state")["power"] is True
        enable.close()
        wait_for(lambda: robot.ask(op="state")["power"] is False, "power falls with the line")
        wait_for(lambda: robot.ask(op="state")["joints"]["turn"]["torque"] == 0.0, "no torque acts")


def test_power_follows_a_file_that_tells_the_level_of_a_real_line(
    start: Callable[..., RobotProcess], tmp_path: Path
) -> None:
    level = tmp_path / "value"
    level.write_text("0\n")
    robot = start(drive_enable_file=str(level)).wait_ready()
    assert robot.ask(op="state")["power"] is False
    for text, power in (("1\n", True), ("0\n", False), ("1\n", True), ("", False)):
        level.write_text(text)
        wait_for(lambda wanted=power: robot.ask(op="state")["power"] is wanted, f"power after {text!r}")


def test_power_comes_back_with_a_line_that_was_gone(start: Callable[..., RobotProcess], tmp_path: Path) -> None:
    level, gone = tmp_path / "level", tmp_path / "gone"
    gone.mkdir()  # reading it fails, as the file of a line does whose chip is gone
    level.symlink_to(gone)
    robot = start(drive_enable_file=str(level)).wait_ready()
    assert robot.ask(op="state")["power"] is False
    fresh = tmp_path / "fresh"
    fresh.write_text("1\n")
    level.unlink()
    level.symlink_to(fresh)
    wait_for(lambda: robot.ask(op="state")["power"] is True, "power")


HOLDER = """
import sys, time
from drivers.gpio.lines import open_output
from drivers.gpio.options import EmulatedLine
line = open_output(EmulatedLine(type="emulated", path=sys.argv[1], line="drive_enable"))
line.set(True)
print("holding", flush=True)
time.sleep(600)
"""


def test_power_falls_when_its_holder_is_killed(running: RobotProcess) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(running.gpio)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holding\n"
        wait_for(lambda: running.ask(op="state")["power"] is True, "power flows")
        holder.send_signal(signal.SIGSTOP)
        assert running.ask(op="state")["power"] is True
        holder.kill()
        wait_for(lambda: running.ask(op="state")["power"] is False, "power falls")
    finally:
        holder.kill()
        holder.wait(PATIENCE_S)
        assert holder.stdout is not None
        holder.stdout.close()


def test_the_button_is_seen_by_the_line(running: RobotProcess) -> None:
    line = open_input(running.line("estop"))
    assert line.read() is True
    for pressed in (True, False):
        assert running.ask(op="press", pressed=pressed)["pressed"] is pressed
        assert select.select([line.fileno()], [], [], PATIENCE_S)[0]
        assert line.read() is not pressed
    line.close()


async def test_the_sensor_feeds_the_driver(running: RobotProcess) -> None:
    sensor = DatagramSensor(DatagramOptions(name="imu", fields={"gyro": 3}, path=running.imu))
    await sensor.open()
    stamps: list[int] = []

    def fresh() -> bool:
        sensor.read(time.monotonic_ns())
        if sensor.stamp_ns and sensor.stamp_ns not in stamps:
            stamps.append(sensor.stamp_ns)
        return len(stamps) > 20

    wait_for(fresh, "20 measurements")
    assert abs(time.monotonic_ns() - stamps[-1]) < 5e9
    assert sensor.malformed == sensor.stale == 0
    await sensor.close()


def test_the_state_tells_the_priority_that_was_reached(start: Callable[..., RobotProcess]) -> None:
    robot = start(priority=10).wait_ready()
    reached = robot.ask(op="state")["priority"]
    policy = os.sched_getscheduler(robot.process.pid)
    assert reached == "SCHED_FIFO 10" if policy == os.SCHED_FIFO else "refused" in reached


# Start and end ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["SIGTERM", "SIGINT", "quit", "parent"])
def test_it_ends_cleanly_and_leaves_no_files(start: Callable[..., RobotProcess], way: str) -> None:
    robot = start().wait_ready()
    assert robot.left_behind() == {"port", "can.sock", "gpio.sock", "control.sock"}
    line = open_input(robot.line("estop"))
    if way == "quit":
        robot.ask(op="quit")
    elif way == "parent":
        assert robot.process.stdin is not None
        robot.process.stdin.close()
    else:
        robot.process.send_signal(getattr(signal, way))
    assert robot.process.wait(PATIENCE_S) == 0
    assert robot.left_behind() == set()
    with pytest.raises(LineError):
        line.read()
    line.close()
    assert robot.process.stderr is not None
    assert robot.process.stderr.read() == ""


def test_after_a_kill_the_next_one_takes_over(start: Callable[..., RobotProcess]) -> None:
    first = start().wait_ready()
    first.process.kill()
    first.process.wait(PATIENCE_S)
    assert first.left_behind() != set()
    second = start().wait_ready()
    assert ping(second).startswith(DXL_PING_REPLY_HEAD)
    second.process.terminate()
    assert second.process.wait(PATIENCE_S) == 0
    assert second.left_behind() == set()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"model": "/none/robot.xml"}, "/none/robot.xml cannot be built"),
        ({"task": "drivers.emulated.none:Belt"}, "drivers.emulated.none"),
        ({"colour": "red"}, "colour"),
        ({"sensors": [{"name": "nose", "path": "/none", "fields": {"smell": 1}, "rate": 1}]}, "smell"),
        ({"gpio": "/none/gpio.sock"}, "cannot listen at /none/gpio.sock"),
        (
            {"joints": [{"name": "swing", "bus": "arm", "id": 1, "model": "AX-12"}]},
            "AX-12",
        ),
    ],
    ids=["model", "task", "key", "sensor", "gpio", "motor"],
)
def test_what_cannot_be_built_is_said_in_one_text(
    start: Callable[..., RobotProcess], change: dict[str, Any], text: str
) -> None:
    robot = start(**change)
    assert robot.process.wait(PATIENCE_S) == 1
    assert robot.process.stderr is not None
    said = robot.process.stderr.read()
    assert text in said
    assert "Traceback" not in said
    assert robot.left_behind() == set()
