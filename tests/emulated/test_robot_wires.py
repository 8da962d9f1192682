"""The wires of the robot process: a serial port, a CAN bus, their hosts, what is in their way."""

from __future__ import annotations

import errno
import os
import socket
import struct
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from drivers.emulated.errors import EmulatorError
from tests.emulated.bench import FRAME, Bench, connect, open_port


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
